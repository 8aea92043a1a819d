"""The shipped MTCNN networks give what facenet-pytorch's give, although their layers are in another
order."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from media import portraits

from deepkd.video.mtcnn import _session

SIZES = {"PNet": (61, 43), "RNet": (24, 24), "ONet": (48, 48)}
"""Width and height of the images; those of the first network may have any."""


def random_images(size: tuple[int, int]) -> npt.NDArray[np.float32]:
    shape = (4, 3, *reversed(size))
    return np.random.default_rng(0).normal(0, 0.5, shape).astype(np.float32)


def real_images(size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Portraits from near and far, and the faces in them."""
    images = []
    for portrait in portraits().values():
        x, y, width, height = (round(value) for value in portrait.box)
        near = portrait.image[y : y + height, x : x + width]
        for image in (portrait.image, near):
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            images.append((small.transpose(2, 0, 1) - np.float32(127.5)) / 128)
    return np.stack(images)


@pytest.mark.parametrize("images", [random_images, real_images])
@pytest.mark.parametrize("name", SIZES)
def test_the_shipped_networks_give_what_the_originals_give(name: str, images):
    torch = pytest.importorskip("torch")
    networks = pytest.importorskip("facenet_pytorch.models.mtcnn")
    inputs = images(SIZES[name])
    with torch.inference_mode():
        box, *points, face = getattr(networks, name)().eval()(torch.from_numpy(inputs))
    outputs = {"face": face[:, 1], "box": box, **({"points": points[0]} if points else {})}
    found = _session(f"mtcnn-{name.lower()}.onnx", 1).run([*outputs], {"image": inputs})
    assert np.ptp(found[0]) > 1e-3  # the images differ for the network
    for value, expected in zip(found, outputs.values(), strict=True):
        np.testing.assert_allclose(value, expected.numpy(), atol=1e-5)
