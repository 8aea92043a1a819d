"""What only a GPU can show: `pytest -m gpu` on a machine with CUDA; not part of `make test`."""

from pathlib import Path

import numpy as np
import pytest
import torch
from crop_factory import write_crops
from media import Media, portraits

from deepkd.models.checkpoints import load_checkpoint
from deepkd.models.export import export_onnx
from deepkd.models.registry import build_model
from deepkd.pipeline import Detector
from deepkd.scoring.model import Scorer
from deepkd.scoring.runtimes import CUDA
from deepkd.settings.training import TrainConfig
from deepkd.training.supervised import train
from deepkd.video.faces import load_detector

pytestmark = pytest.mark.gpu


def test_the_detector_finds_the_same_faces_on_cuda() -> None:
    for person in portraits().values():
        cpu = load_detector("mtcnn-torch", device="cpu").detect(person.image)
        cuda = load_detector("mtcnn-torch", device="cuda").detect(person.image)
        assert len(cuda) == len(cpu) >= 1
        for here, there in zip(cpu, cuda, strict=True):
            np.testing.assert_allclose(there.box, here.box, atol=1.0)
            np.testing.assert_allclose(there.landmarks, here.landmarks, atol=1.0)
            assert there.probability == pytest.approx(here.probability, abs=1e-2)


@pytest.mark.parametrize("precision", ["bf16", "float32"])
def test_training_on_cuda_learns_what_a_cpu_checks(tmp_path: Path, precision: str) -> None:
    crops = write_crops(tmp_path / "crops", families=40, px=48, tint=40)
    config = TrainConfig(
        model="tf_efficientnet_lite0", image_size=64, batch=8, epochs=12, lr=2e-3, ema=0.9,
        workers=0, augment="none", device="cuda", precision=precision,
    )  # fmt: skip
    model = train(crops, tmp_path / "run", config)
    assert model.metadata["validation"]["val_auc"] > 0.9
    images = [person.image for person in portraits().values()]
    on_cpu = load_checkpoint(tmp_path / "run").logits(images)
    np.testing.assert_allclose(model.logits(images), on_cpu, rtol=1e-2, atol=1e-2)


def test_cross_efficient_vit_takes_a_bf16_step_on_cuda() -> None:
    model = build_model("cross-efficient-vit")
    module = model.module.cuda().train()
    with torch.autocast("cuda", torch.bfloat16):
        logits = module(torch.randn(2, 3, 224, 224, device="cuda"))
        torch.nn.functional.softplus(logits.float()).mean().backward()
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    assert gradients and all(bool(one.isfinite().all()) for one in gradients)


def test_the_cuda_execution_provider_gives_the_same_logits(tmp_path: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime-gpu is not installed")
    torch.manual_seed(0)
    model = build_model("tf_efficientnet_lite0", image_size=64)
    model.trained = True
    torch.nn.init.normal_(model.module.get_classifier().weight)  # type: ignore[union-attr,operator]
    path = export_onnx(model, tmp_path / "model.onnx")
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    expected = Scorer.load(path).logits(list(images))
    session = onnxruntime.InferenceSession(path, providers=["CUDAExecutionProvider"])
    name = session.get_inputs()[0].name
    found = session.run(None, {name: images})[0]
    np.testing.assert_allclose(np.ravel(found), expected, atol=1e-3)


def test_a_clip_has_the_same_score_on_cuda(media: Media) -> None:
    ort = pytest.importorskip("onnxruntime")
    if CUDA not in ort.get_available_providers():
        pytest.skip("ONNX Runtime has no CUDA provider (pip install onnxruntime-gpu)")
    clip = media.clip(forged=True)
    cpu, cuda = (Detector(device=device).detect(clip) for device in ("cpu", "cuda"))
    assert (cuda.label, len(cuda.tracks)) == (cpu.label, len(cpu.tracks))
    assert cuda.score == pytest.approx(cpu.score, abs=1e-3)
