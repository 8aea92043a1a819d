"""Put a trained student into `weights/`: ONNX file, checksum, golden scores.

    python tools/ship_model.py runs/nano --name deepkd-nano

It takes what tests take (`pip install -e '.[dev]'`): the golden scores are the logits of the two
portraits of the tests, cropped by the model's own rule, and of a pattern of whole numbers. A test
compares them, and `deepkd doctor` that of the pattern, so that a file that is swapped, damaged or
run wrongly is noticed. A model over the budget of a student is refused, and whatever fails leaves
the folder as it was.
"""

import argparse
import json
import re
from pathlib import Path

import cv2
import matplotlib.cbook
import numpy as np
from convert_mtcnn import checksum_lines

from deepkd.compression.graphs import store_half
from deepkd.errors import DeepKDError, ModelError, UsageError
from deepkd.images import Image, pattern
from deepkd.models.checkpoints import load_checkpoint
from deepkd.models.export import export_onnx
from deepkd.models.registry import TorchModel
from deepkd.outputs import write_whole
from deepkd.scoring.model import Scorer
from deepkd.shipped import GOLDEN, PATTERN
from deepkd.video.crops import crop_face
from deepkd.video.faces import load_detector
from deepkd.video.frames import Frame

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
NAME = re.compile(r"deepkd-[a-z0-9][a-z0-9-]*")
BUDGETS = {"deepkd-large": (4_000_000, 9_000_000)}
"""Parameters and bytes that a model may have."""
STUDENT = (506_888, 2_200_000)
"""Likewise of every other model: 99.5% fewer parameters than the teacher. The hashes of its
training data may take 0.2 MB."""
NEXT = """Next, from the root of the checkout:
  python benchmarks/model_card.py --data CROPS --cross OTHER_CROPS --teacher RUN \\
      --model {path} --document {card}
      writes the card's figures and {name}.json, which reports show
  pip install .
      only where deepkd is not installed editable (pip install -e): it keeps the old weights"""


def portraits() -> dict[str, Image]:
    """Two public-domain photographs with one face each: RGB, uint8, (height, width, 3).

    Raises:
        UsageError: scikit-image, which has one of them, is not installed.
    """
    try:
        import skimage.data
    except ImportError as error:
        raise UsageError(
            "the golden scores take scikit-image; install it with: pip install -e '.[dev]'"
        ) from error
    hopper = cv2.imread(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    return {
        "astronaut": skimage.data.astronaut(),
        "grace_hopper": np.ascontiguousarray(hopper[..., ::-1]),
    }


def golden_crops(scorer: Scorer) -> dict[str, Image]:
    """The face of each portrait, cropped as `deepkd detect` does: RGB, uint8, square."""
    detector = load_detector("mtcnn", device="cpu")
    crops = {}
    for name, image in portraits().items():
        face = detector.detect(image)[0]
        crop = crop_face(
            Frame(image, 0.0, 0), face, face_px=scorer.format.size, rule=scorer.format.crop
        )
        crops[name] = crop.image
    return crops


def golden_logits(scorer: Scorer) -> dict[str, float]:
    """The logit of each portrait's face, and of the picture that `deepkd doctor` shows."""
    crops = {**golden_crops(scorer), PATTERN: pattern(scorer.format.size)}
    return {name: round(float(scorer.logits([crop])[0]), 4) for name, crop in crops.items()}


def check_name(name: str) -> None:
    """Refuse a name that shipped students cannot have.

    Raises:
        UsageError: it does not begin with `deepkd-`, or has other than small letters, digits and
            dashes.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"--name {name}: takes deepkd- and then small letters, digits and dashes, e.g."
            " deepkd-nano"
        )


def check_budget(name: str, params: int, size: int) -> None:
    """Refuse a model that is too large for its name.

    Raises:
        ModelError: it has too many parameters, or its file too many bytes; the message says which,
            or both.
    """
    most = BUDGETS.get(name, STUDENT)
    excess = [
        f"{value:,} {unit}, {limit:,} are allowed"
        for value, limit, unit in zip((params, size), most, ("parameters", "bytes"), strict=True)
        if value > limit
    ]
    if excess:
        what = name if name in BUDGETS else "a shipped student"
        raise ModelError(f"too large for {what}: {'; '.join(excess)}; prune it ('deepkd prune')")


def ship(model: TorchModel, folder: Path) -> dict[str, float]:
    """Write model, checksum and golden scores, or none of them; return the scores.

    Raises:
        ModelError: it is over the budget, or its export differs from it.
        OutputError: a file cannot be written.
    """
    path, sums, golden = folder / f"{model.name}.onnx", folder / "SHA256SUMS", folder / GOLDEN
    with (
        write_whole(path) as new_path,
        write_whole(sums) as new_sums,
        write_whole(golden) as new_golden,
    ):
        export_onnx(model, new_path)
        if model.name in BUDGETS:
            store_half(new_path, new_path)
        scorer = Scorer.load(new_path)
        check_budget(model.name, scorer.params, scorer.bytes)
        scores = json.loads(golden.read_text()) if golden.exists() else {}
        scores[model.name] = golden_logits(scorer)
        new_sums.write_text(checksum_lines(sums, path.name, new_path.read_bytes()))
        new_golden.write_text(json.dumps(scores, indent=2) + "\n")
    return scores[model.name]


def main() -> None:
    """Export, verify, note checksum and golden scores, say what comes next."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="run folder or .safetensors of a trained student")
    parser.add_argument("--name", required=True, help="name to ship it under, e.g. deepkd-nano")
    parser.add_argument(
        "--weights", type=Path, default=WEIGHTS, help="folder of the shipped models"
    )
    args = parser.parse_args()
    try:
        check_name(args.name)
        portraits()
        model = load_checkpoint(args.run)
        model.name = args.name
        scores = ship(model, args.weights)
    except DeepKDError as error:
        raise SystemExit(f"error: {error}") from error
    path = args.weights / f"{args.name}.onnx"
    print(f"{path}: {path.stat().st_size:,} bytes, {scores}")
    print(NEXT.format(name=args.name, path=path, card=path.with_suffix(".md")))


if __name__ == "__main__":
    main()
