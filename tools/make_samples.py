"""Make data/samples/real.mp4 and data/samples/forged.mp4: clips that the project may publish.

A virtual camera drifts over a public-domain photograph of Grace Hopper (US Navy). In the forged
clip her face is that of Eileen Collins (NASA), also in the public domain. Both are what `deepkd
forge --kind clips --method face-swap` makes of the two photographs.

    python tools/make_samples.py [--out data/samples]

Needs scikit-image and Matplotlib, which carry the photographs; nothing is downloaded.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import cv2
import matplotlib.cbook
import skimage.data

from deepkd.data.forge.run import forge
from deepkd.settings.data import ForgeConfig

SUBJECT, DONOR = "hopper.png", "collins.png"


def photographs(folder: Path) -> list[str]:
    """The two photographs as files in a folder."""
    hopper = cv2.imread(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    collins = skimage.data.astronaut()[..., ::-1]
    for name, image in {SUBJECT: hopper, DONOR: collins}.items():
        cv2.imwrite(str(folder / name), image)
    return [str(folder / name) for name in (SUBJECT, DONOR)]


def main() -> None:
    """Write both clips."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).resolve().parents[1] / "data" / "samples"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="length of the clips")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    config = ForgeConfig(
        kind="clips", method="face-swap", seconds=arguments.seconds, val_share=0.0, test_share=0.0
    )
    with tempfile.TemporaryDirectory() as name:
        made = forge(photographs(Path(name)), Path(name) / "out", config).out
        clip = Path(SUBJECT).with_suffix(".mp4").name
        for label, source in {
            "real": made / "real" / clip,
            "forged": made / "fake" / config.method / clip,
        }.items():
            path = arguments.out / f"{label}.mp4"
            shutil.copyfile(source, path)
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
