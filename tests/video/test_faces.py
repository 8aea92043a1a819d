"""Both detectors find the same faces, in every light and at every size, and none where there is
none."""

import hashlib
import sys
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from media import portraits, scene

from deepkd.errors import ConfigError
from deepkd.images import Image
from deepkd.shipped import checksums, weights_dir
from deepkd.video import mtcnn
from deepkd.video.faces import DETECTORS, Face, FaceDetector, load_detector, looks, search
from deepkd.video.mtcnn import MAX_THREADS

ROOT = Path(__file__).resolve().parents[2]


@cache
def detector(name: str, min_face_px: int = 40, max_side_px: int = 640) -> FaceDetector:
    if name == "mtcnn-torch":
        pytest.importorskip("facenet_pytorch")
    return load_detector(
        name, device="cpu", min_face_px=min_face_px, max_side_px=max_side_px, threads=2
    )


def find(name: str, image: Image, *options: int, thorough: bool = False) -> list[Face]:
    """The faces; PyTorch with one thread, as its threads wait for each other on a busy machine."""
    if name == "mtcnn":
        return detector(name, *options).detect(image, thorough=thorough)
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return detector(name, *options).detect(image, thorough=thorough)
    finally:
        torch.set_num_threads(threads)


def scaled(name: str, width: int, height: int) -> Image:
    return cv2.resize(portraits()[name].image, (width, height), interpolation=cv2.INTER_AREA)


def collage() -> Image:
    """Five faces 50 to 110 px high."""
    people = [
        ("astronaut", 200),
        ("grace_hopper", 170),
        ("astronaut", 300),
        ("grace_hopper", 260),
        ("astronaut", 160),
    ]
    picture = np.full((720, 1280, 3), 90, np.uint8)
    for i, (name, side) in enumerate(people):
        top, left = 30 + (i % 3) * 180, 20 + i * 240
        picture[top : top + side, left : left + side] = scaled(name, side, side)
    return picture


IMAGES = {
    "astronaut": (lambda: portraits()["astronaut"].image, 1),
    "grace_hopper": (lambda: portraits()["grace_hopper"].image, 1),
    "collage": (collage, 5),
    "small": (lambda: scaled("grace_hopper", 100, 90), 1),
    "not square": (lambda: scaled("astronaut", 333, 277), 1),
    "large": (lambda: scaled("astronaut", 900, 780), 1),
    "dark": (lambda: (scaled("grace_hopper", 300, 350) * 0.12).astype(np.uint8), 1),
    "gray": (lambda: np.repeat(scaled("astronaut", 400, 400)[..., 1:2], 3, axis=2), 1),
    "cut off by the edge": (lambda: portraits()["astronaut"].image[:, 195:], 1),
    "noise": (lambda: scene((), size=(640, 480)), 0),
    "dark noise": (lambda: scene((), size=(640, 480)) // 32, 0),
    "black": (lambda: np.zeros((300, 400, 3), np.uint8), 0),
    "white": (lambda: np.full((300, 400, 3), 255, np.uint8), 0),
    "smaller than a face": (lambda: np.zeros((8, 9, 3), np.uint8), 0),
    "one row": (lambda: np.zeros((1, 2000, 3), np.uint8), 0),
}


def assert_same(found: list[Face], expected: list[Face]) -> None:
    """The same faces, boxes and landmarks within a pixel (what was measured: within 0.0002)."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.box, other.box, atol=1)
        np.testing.assert_allclose(one.landmarks, other.landmarks, atol=1)
        assert one.probability == pytest.approx(other.probability, abs=1e-3)


SETTINGS = [(name, (40, 640)) for name in IMAGES] + [
    (name, options)
    for name in ("collage", "small", "not square")
    for options in ((20, 640), (24, 960), (60, 400))
]


@pytest.mark.parametrize(("name", "options"), SETTINGS)
def test_both_detectors_find_the_same_faces(name: str, options: tuple[int, int]):
    image = IMAGES[name][0]()
    assert_same(find("mtcnn", image, *options), find("mtcnn-torch", image, *options))


@pytest.mark.parametrize("kind", DETECTORS)
@pytest.mark.parametrize("name", IMAGES)
def test_faces_are_where_they_are(name: str, kind: str):
    make, count = IMAGES[name]
    image = make()
    faces = find(kind, image, 20)
    assert len(faces) == count
    areas = [face.box[2] * face.box[3] for face in faces]
    assert areas == sorted(areas, reverse=True)
    for face in faces:
        x, y, width, height = face.box
        assert face.landmarks.shape == (5, 2)
        assert face.landmarks.dtype == np.float32
        assert ((face.landmarks > (x, y)) & (face.landmarks < (x + width, y + height))).all()
        assert 0.7 < face.probability <= 1


@pytest.mark.parametrize("name", ["astronaut", "grace_hopper"])
def test_boxes_are_of_the_full_frame(name: str):
    portrait = portraits()[name]
    for factor in (1, 3):
        size = (portrait.image.shape[1] * factor, portrait.image.shape[0] * factor)
        (face,) = detector("mtcnn").detect(
            cv2.resize(portrait.image, size, interpolation=cv2.INTER_LINEAR)
        )
        tolerance = portrait.box[3] / 10
        np.testing.assert_allclose(np.divide(face.box, factor), portrait.box, atol=tolerance)
        np.testing.assert_allclose(face.landmarks / factor, portrait.landmarks, atol=tolerance)


def test_an_image_without_a_large_face_is_searched_for_a_small_one():
    image = np.full((1080, 1920, 3), 90, np.uint8)
    image[400:640, 700:940] = scaled("astronaut", 240, 240)  # the face: 52 px here, 17 px at 640
    (face,) = detector("mtcnn").detect(image)
    assert face.is_small
    assert face.box[3] == pytest.approx(52, abs=7)


@pytest.mark.parametrize("kind", DETECTORS)
def test_a_thorough_search_finds_small_faces_beside_a_large_one(kind: str):
    image = np.full((1080, 1920, 3), 90, np.uint8)
    image[:1000, :1000] = scaled("grace_hopper", 1000, 1000)
    image[300:540, 1400:1640] = scaled("astronaut", 240, 240)
    (large,) = find(kind, image)
    found = find(kind, image, thorough=True)
    assert [face.is_small for face in found] == [False, True]
    assert_same(found[:1], [large])
    assert found[1].box[3] == pytest.approx(52, abs=7)


@pytest.mark.parametrize("kind", DETECTORS)
@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (3840, 2160)])
def test_a_face_alone_is_found_whatever_frame_is_around_it(size: tuple[int, int], kind: str):
    image = np.full((size[1], size[0], 3), 90, np.uint8)
    image[300:510, 700:910] = scaled("astronaut", 210, 210)  # the face: 45 px
    (face,) = find(kind, image, thorough=True)
    assert face.box[3] == pytest.approx(45, abs=6)


def test_the_largest_frames_are_searched_at_their_own_size_only_if_no_face_was_seen():
    image = np.full((1080, 1920, 3), 90, np.uint8)
    image[:1000, :1000] = scaled("grace_hopper", 1000, 1000)
    sizes: list[int] = []

    def find_one(small: Image, only_small: bool) -> list[Face]:
        assert only_small == (with_face and bool(sizes))
        sizes.append(small.shape[1])
        return faces

    for with_face, thorough, expected in (
        (True, False, [640]),
        (True, True, [640, 1280]),
        (False, False, [640, 1280]),
        (False, True, [640, 1280, 1920]),
    ):
        sizes.clear()
        faces = [Face((0, 0, 100, 100), 1.0, np.zeros((5, 2), np.float32))] * with_face
        search(image, 640, find_one, thorough=thorough)
        assert sizes == expected


@pytest.mark.parametrize(
    "size", [(1920, 1080), (1080, 1920), (3200, 1800), (1280, 960), (854, 480)]
)
def test_the_first_look_is_the_mean_of_each_area(size: tuple[int, int]):
    image = np.random.default_rng(0).integers(64, 256, (size[1], size[0], 3), np.uint8)
    (look,) = looks(image, 640, count=1)
    shape = look.shape[1::-1]
    assert max(shape) == 640
    np.testing.assert_array_equal(look, cv2.resize(image, shape, interpolation=cv2.INTER_AREA))


def test_a_view_of_a_larger_array_will_do():
    image = portraits()["astronaut"].image
    assert_same(detector("mtcnn").detect(image[::-1][::-1]), detector("mtcnn").detect(image))
    assert len(detector("mtcnn").detect(image[:, ::-1])) == 1


@pytest.mark.parametrize(
    ("name", "device", "message"),
    [
        ("mtcn", "auto", "unknown detector 'mtcn'; choose from mtcnn, mtcnn-torch"),
        ("mtcnn", "cuda", "choose detector 'mtcnn-torch' for device 'cuda'"),
    ],
)
def test_what_cannot_be_loaded_is_named(name: str, device: str, message: str):
    with pytest.raises(ConfigError, match=message):
        load_detector(name, device=device)


@pytest.mark.parametrize(
    ("allowed", "threads"), [({5}, 1), (set(range(6)), 3), (set(range(40)), MAX_THREADS)]
)
def test_threads_are_half_of_the_cores_it_may_use(
    allowed: set[int], threads: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: allowed, raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    options = mtcnn._session("mtcnn-pnet.onnx", None).get_session_options()
    assert options.intra_op_num_threads == threads


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "facenet_pytorch", None)
    monkeypatch.delitem(sys.modules, "deepkd.video.mtcnn_torch", raising=False)
    with pytest.raises(ConfigError, match=r"needs facenet_pytorch.*pip install 'deepkd\[train\]'"):
        load_detector("mtcnn-torch")


def test_the_shipped_networks_are_what_the_script_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("onnx")
    pytest.importorskip("facenet_pytorch")
    monkeypatch.syspath_prepend(ROOT / "tools")
    monkeypatch.setattr(sys, "argv", ["convert_mtcnn.py", "--out", str(tmp_path)])
    import convert_mtcnn

    (tmp_path / "SHA256SUMS").write_text("00  other.onnx\n11  mtcnn-pnet.onnx\n")
    convert_mtcnn.main()
    lines = dict(
        reversed(line.split()) for line in (tmp_path / "SHA256SUMS").read_text().splitlines()
    )
    for name in ("mtcnn-pnet.onnx", "mtcnn-rnet.onnx", "mtcnn-onet.onnx"):
        assert (
            lines[name]
            == checksums()[name]
            == hashlib.sha256((weights_dir() / name).read_bytes()).hexdigest()
        )
    assert list(lines) == sorted(lines)
    assert lines["other.onnx"] == "00"
