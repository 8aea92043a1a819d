"""Put a trained student into `weights/`: its ONNX file, its checksum, its golden scores on public-domain faces.

    python scripts/ship_model.py runs/nano --name deepkd-nano

The golden scores are the logits of the two portraits that the tests use, cropped by the model's own rule; a test
compares them, so that a file that is swapped, damaged or run wrongly is noticed.
"""

import argparse
import json
from pathlib import Path

import cv2
import matplotlib.cbook
import numpy as np
import skimage.data
from convert_mtcnn import note_checksum

from deepkd.compression.export import export_onnx
from deepkd.images import Image
from deepkd.models.checkpoints import load_checkpoint
from deepkd.scoring.model import Scorer
from deepkd.video.crops import crop_face
from deepkd.video.faces import load_detector
from deepkd.video.frames import Frame

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
GOLDEN = "golden.json"


def portraits() -> dict[str, Image]:
    """Two public-domain photographs with one face each (NASA; US Navy): RGB, uint8, (height, width, 3)."""
    hopper = cv2.imread(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    return {"astronaut": skimage.data.astronaut(), "grace_hopper": np.ascontiguousarray(hopper[..., ::-1])}


def golden_crops(scorer: Scorer) -> dict[str, Image]:
    """The face of each portrait, found and framed as `deepkd detect` does: RGB, uint8, (size, size, 3)."""
    detector = load_detector("mtcnn", device="cpu")
    crops = {}
    for name, image in portraits().items():
        face = detector.detect(image)[0]
        crop = crop_face(Frame(image, 0.0, 0), face, face_px=scorer.format.size, rule=scorer.format.crop)
        crops[name] = crop.image
    return crops


def golden_logits(scorer: Scorer) -> dict[str, float]:
    """The logit of each portrait's face."""
    return {name: round(float(scorer.logits([crop])[0]), 4) for name, crop in golden_crops(scorer).items()}


def main() -> None:
    """Export, verify, note checksum and golden scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder or .safetensors of a trained student")
    parser.add_argument("--name", required=True, help="name to ship it under, e.g. deepkd-nano")
    args = parser.parse_args()

    model = load_checkpoint(args.run)
    model.name = args.name
    path = export_onnx(model, WEIGHTS / f"{args.name}.onnx")
    note_checksum(WEIGHTS / "SHA256SUMS", path.name, path.read_bytes())
    golden = WEIGHTS / GOLDEN
    scores = json.loads(golden.read_text()) if golden.exists() else {}
    scores[args.name] = golden_logits(Scorer.load(path))
    golden.write_text(json.dumps(scores, indent=2) + "\n")
    print(f"{path}: {path.stat().st_size:,} bytes, {scores[args.name]}")


if __name__ == "__main__":
    main()
