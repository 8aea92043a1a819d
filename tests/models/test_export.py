"""An exported file gives torch's logits and its metadata, and is refused when it differs."""

import errno
import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from model_factory import Resampled
from scorer_factory import write_scorer
from torch import nn
from typer.testing import CliRunner

from deepkd.cli.app import app
from deepkd.errors import ModelError, OutputError
from deepkd.models import export
from deepkd.models.checkpoints import save_model
from deepkd.models.export import export_onnx
from deepkd.models.registry import PUBLISHED_FORMAT, TorchModel, build_model
from deepkd.scoring.model import METADATA_KEY, InputFormat, Scorer
from deepkd.scoring.seal import SEAL_KEY, hashes_of, seal_of, set_seal
from deepkd.settings.choices import CONVERSIONS

CROPS = list(np.random.default_rng(0).integers(0, 256, (5, 70, 70, 3), np.uint8))


def trained(name: str = "pico", format: InputFormat | None = None) -> TorchModel:
    torch.manual_seed(0)
    model = build_model(name, format=format, image_size=64 if format is None else None)
    for parameter in model.module.parameters():
        if parameter.ndim == 1:
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    nn.init.normal_(model.module.classifier.weight)
    model.trained = True
    model.metadata = {
        "calibration": {"temperature": 1.7, "bias": -0.2},
        "thresholds": {"real": 0.2, "fake": 0.9},
    }
    return model


@pytest.mark.parametrize("format", [None, PUBLISHED_FORMAT], ids=["usual", "published"])
@pytest.mark.parametrize("count", [1, 5])
def test_logits_and_metadata_survive(
    tmp_path: Path, format: InputFormat | None, count: int
) -> None:
    model = trained(format=format)
    scorer = Scorer.load(export_onnx(model, tmp_path / "m.onnx"))
    np.testing.assert_allclose(scorer.logits(CROPS[:count]), model.logits(CROPS[:count]), atol=1e-4)
    assert (scorer.name, scorer.params, scorer.macs, scorer.format) == (
        "pico",
        model.params,
        model.macs,
        model.format,
    )
    assert (scorer.calibration, scorer.thresholds) == (model.calibration, model.thresholds)
    calibrated = model.calibration.probability(model.logits(CROPS[:1]))
    np.testing.assert_allclose(scorer.probabilities(CROPS[:1]), calibrated, rtol=1e-3)
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_untrained_files_are_refused_by_the_scorer(tmp_path: Path) -> None:
    path = export_onnx(build_model("pico"), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="never trained"):
        Scorer.load(path)


def test_an_export_that_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="export refused"):
        export_onnx(trained(), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("confidence", "shift", "refused"),
    [
        (0, 5e-5, False),
        (0, 2e-4, True),
        (0, float("nan"), True),
        (1000, 0.05, False),
        (1000, 0.2, True),
    ],
)
def test_a_written_file_whose_logits_moved_is_refused(
    confidence: float, shift: float, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained()
    nn.init.normal_(model.module.classifier.weight, 0, 0.1)
    model.module.classifier.bias.data.fill_(confidence)
    save = export.save_described

    def spoil(graph: onnx.ModelProto, metadata: dict, out: Path) -> None:
        bias = next(one for one in graph.graph.initializer if one.name.endswith("classifier.bias"))
        bias.CopyFrom(
            onnx.numpy_helper.from_array(
                onnx.numpy_helper.to_array(bias) + np.float32(shift), bias.name
            )
        )
        save(graph, metadata, out)

    monkeypatch.setattr(export, "save_described", spoil)
    if not refused:
        assert export_onnx(model, tmp_path / "m.onnx").exists()
        return
    with pytest.raises(ModelError, match=r"export refused|not finite"):
        export_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


class Baked(nn.Module):
    """A network for as many crops as it was traced on."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        return self.module(views).reshape(int(views.shape[0]), 1)


def test_a_batch_size_that_is_baked_in_is_refused(tmp_path: Path) -> None:
    model = trained()
    model.module = Baked(model.module)
    with pytest.raises(ModelError, match="export refused: traced on 2 crops, it fails on 3"):
        export_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


class Untraceable(Resampled):
    """A network that must not be traced."""

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        if torch.jit.is_tracing():
            raise RuntimeError("no way. And more\non another line")
        return super().forward(views)


@pytest.mark.parametrize(
    ("format", "network", "reason"),
    [
        ("onnx", Resampled, r"Exporting the operator .* is not supported"),
        ("onnx", Untraceable, "no way"),
        ("torchscript", Untraceable, "no way"),
    ],
)
def test_what_torch_cannot_export_is_a_sentence_and_prints_nothing(
    format: str,
    network: type[nn.Module],
    reason: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    model = trained()
    model.module = network()
    with pytest.raises(
        ModelError, match=rf"^pico: cannot be exported as \w+ \({reason}\); train it with another"
    ):
        export.FORMATS[format](model, tmp_path / "m")
    assert capfd.readouterr() == ("", "") and not list(tmp_path.iterdir())


def test_an_export_takes_no_standard_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(_: int) -> int:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(export.os, "dup", closed)
    assert export_onnx(trained(), tmp_path / "m.onnx").exists()


def test_a_folder_that_is_missing_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        export_onnx(trained(), tmp_path / "no" / "m.onnx")


def edited(path: Path, change: str) -> None:
    graph = onnx.load(path)
    entry = next(item for item in graph.metadata_props if item.key == METADATA_KEY)
    values = json.loads(entry.value)
    if change == "absent":
        entry.key = "other"
    elif change == "text":
        entry.value = "{"
    elif change == "schema":
        entry.value = json.dumps({**values, "schema": "deepkd.model/99"})
    else:
        entry.value = json.dumps({key: value for key, value in values.items() if key != change})
    onnx.save(graph, path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("absent", "not one of deepkd's"),
        ("text", "not JSON"),
        ("schema", "not of schema"),
        ("calibration", "lacks calibration"),
        ("input", "lacks input"),
    ],
)
def test_metadata_that_is_not_whole_is_refused(tmp_path: Path, change: str, message: str) -> None:
    path = export_onnx(trained(), tmp_path / "m.onnx")
    edited(path, change)
    with pytest.raises(ModelError, match=message):
        Scorer.load(path)


@pytest.mark.parametrize("variant", ["float32", *CONVERSIONS])
def test_a_file_with_one_other_byte_is_refused(variant: str, tmp_path: Path) -> None:
    path = export_onnx(trained(), tmp_path / "m.onnx")
    if variant != "float32":
        CONVERSIONS.load(variant)(path, path)
    content = bytearray(path.read_bytes())
    assert Scorer.load(path).metadata[SEAL_KEY] == seal_of(content)
    graph = onnx.load(path)
    weights = max(graph.graph.initializer, key=lambda tensor: len(tensor.raw_data)).raw_data
    content[content.index(weights) + len(weights) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        ModelError,
        match="damaged: not the bytes that were exported; export it again or copy it again",
    ):
        Scorer.load(path)
    path.write_bytes(set_seal(content))
    assert Scorer.load(path).metadata[SEAL_KEY] == seal_of(path.read_bytes())


def test_a_seal_by_hand_and_files_that_have_none(tmp_path: Path) -> None:
    zeros = b'a{"content_sha256": "' + b"0" * 64 + b'"}b'
    digest = hashlib.sha256(zeros).hexdigest()
    assert seal_of(zeros) == seal_of(set_seal(zeros)) == digest
    assert (
        set_seal(zeros)
        == b'a{"content_sha256": "' + digest.encode() + b'"}b'
        == set_seal(set_seal(zeros))
    )
    sealed = set_seal(zeros)
    assert hashes_of(sealed) == (hashlib.sha256(sealed).hexdigest(), digest)
    assert seal_of(b"an older file") is None and set_seal(b"an older file") == b"an older file"
    assert SEAL_KEY not in Scorer.load(write_scorer(tmp_path / "older.onnx")).metadata


def test_truncated_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = export_onnx(trained(), tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ModelError, match="damaged or not an ONNX model"):
        Scorer.load(path)
    with pytest.raises(ModelError, match=r"no such model; give an \.onnx file or one of"):
        Scorer.load(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match=r"not an \.onnx file"):
        (tmp_path / "m.bin").write_bytes(b"x")
        Scorer.load(tmp_path / "m.bin")


def test_the_evidence_is_a_map_whose_mean_is_the_logit(tmp_path: Path) -> None:
    scorer = Scorer.load(export_onnx(trained(), tmp_path / "m.onnx"))
    assert scorer.has_evidence
    logits, places = scorer.evidence(CROPS)
    assert places.shape == (len(CROPS), 2, 2) and np.ptp(places, (1, 2)).min() > 0.01
    np.testing.assert_allclose(places.mean((1, 2)), logits, atol=1e-4)
    np.testing.assert_allclose(scorer.logits(CROPS), logits, atol=1e-5)


def test_a_model_of_another_build_has_no_evidence(tmp_path: Path) -> None:
    model = trained()
    model.module = nn.Sequential(model.module, nn.Tanh())
    assert not Scorer.load(export_onnx(model, tmp_path / "m.onnx")).has_evidence


@pytest.mark.parametrize(
    ("name", "located"), [("resnet10t", True), ("mobilenetv3_small_050", False)]
)
def test_other_classifiers(name: str, located: bool, tmp_path: Path) -> None:
    model = build_model(name, image_size=64)
    nn.init.normal_(model.module.get_classifier().weight)
    model.trained = True
    assert Scorer.load(export_onnx(model, tmp_path / "m.onnx")).has_evidence == located


def test_a_difference_without_end_is_refused() -> None:
    with pytest.raises(ModelError, match="differ from torch's by inf"):
        export._refuse(float("inf"), float("inf"), "ONNX Runtime")


def test_logits_in_the_thousands_keep_their_evidence(tmp_path: Path) -> None:
    model = trained()
    nn.init.normal_(model.module.classifier.weight, 0, 300)
    example = torch.from_numpy(model.format.batch(CROPS))
    assert np.abs(model.logits(CROPS)).max() > 1000
    assert isinstance(export.fold(model, example), export.Located)
    assert export_onnx(model, tmp_path / "m.onnx").exists()
    assert export.export_torchscript(model, tmp_path / "m.pt").exists()


def test_torchscript_gives_the_same_logits_and_says_what_it_is(tmp_path: Path) -> None:
    model = trained()
    path = export.FORMATS["torchscript"](model, tmp_path / "m.pt")
    said = {METADATA_KEY: ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        loaded = torch.jit.load(path, _extra_files=said)
    for count in (1, 5):
        crops = model.format.batch(CROPS[:count])
        found = loaded(torch.from_numpy(crops)).detach().numpy()
        np.testing.assert_allclose(found, model.logits(CROPS[:count]), atol=1e-4)
    assert InputFormat.from_dict(json.loads(said[METADATA_KEY])["input"]) == model.format


def test_torchscript_that_differs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="export refused: TorchScript's logits"):
        export.export_torchscript(trained(), tmp_path / "m.pt")
    assert not list(tmp_path.iterdir())


def test_the_command_writes_either_and_refuses_others(tmp_path: Path) -> None:
    run = save_model(trained(), tmp_path / "m.safetensors")
    out = tmp_path / f"o:smile:[red]{90 * 'x'}.pt"
    words = ["export", str(run), "--out", str(out), "--format"]
    done = CliRunner().invoke(app, [*words, "torchscript"])
    assert done.exit_code == 0 and out.stat().st_size > 100_000
    assert done.stderr == f"wrote {out} ({out.stat().st_size:,} bytes)\n"
    refused = CliRunner().invoke(app, [*words, "tflite"])
    assert refused.exit_code == 2 and "choose from onnx, torchscript" in refused.stderr
