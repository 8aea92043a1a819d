"""Write a trained checkpoint in half precision, to keep it or to send it in parts.

    python tools/half_precision.py runs/large-teacher --out large-teacher.safetensors
    python tools/half_precision.py runs/large-teacher --out part --part-mb 15    # part.00, part.01

Parts are joined by `cat part.?? > large-teacher.safetensors`. A float16 copy loads as any
checkpoint and is computed in float32; its logits differ from the original's by about 1e-3.
"""

import argparse
from pathlib import Path

from deepkd.errors import DeepKDError
from deepkd.models.checkpoints import load_checkpoint, save_model


def halve(source: Path, out: Path) -> Path:
    """Write the weights of a checkpoint as float16; counters stay whole numbers."""
    model = load_checkpoint(source)
    model.module.half()
    return save_model(model, out)


def split(path: Path, part_bytes: int) -> list[Path]:
    """Cut a file into parts that carry their number, and remove it."""
    for old in path.parent.glob(f"{path.name}.[0-9][0-9]"):
        old.unlink()
    content = path.read_bytes()
    parts = []
    for number, start in enumerate(range(0, len(content), part_bytes)):
        part = path.with_name(f"{path.name}.{number:02d}")
        part.write_bytes(content[start : start + part_bytes])
        parts.append(part)
    path.unlink()
    return parts


def main() -> None:
    """Read the command line and write the copy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder or checkpoint")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part-mb", type=float, help="largest part, MiB; whole unless given")
    args = parser.parse_args()
    try:
        path = halve(args.run, args.out)
    except DeepKDError as error:
        raise SystemExit(f"error: {error}") from error
    parts = split(path, int(args.part_mb * 2**20)) if args.part_mb else [path]
    print("wrote", *parts)


if __name__ == "__main__":
    main()
