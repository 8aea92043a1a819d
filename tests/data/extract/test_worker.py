"""The people of a clip whose crops are kept."""

import pytest

from deepkd.data.extract.journal import CropEntry
from deepkd.data.extract.worker import select_people
from deepkd.settings.data import ExtractConfig


def entries(*seen: tuple[int, float, float]) -> list[CropEntry]:
    return [
        CropEntry("f", t_s, 50.0 + track, track, probability, (1.0,) * 10)
        for track, t_s, probability in seen
    ]


PEOPLE = [
    (
        "a doubtful face beside a sure one goes",
        entries((0, 0, 0.99), (0, 1, 0.99), (1, 1, 0.9)),
        {},
        {0},
    ),
    ("a doubtful face alone stays", entries((0, 0, 0.8), (1, 5, 0.99)), {}, {0, 1}),
    ("once sure is sure enough", entries((0, 0, 0.99), (1, 0, 0.8), (1, 1, 0.99)), {}, {0, 1}),
    ("zero keeps all", entries((0, 0, 0.99), (1, 0, 0.8)), {"sure_probability": 0.0}, {0, 1}),
    (
        "the largest is seen largest and longest",
        entries((0, 0, 1), (0, 1, 1), (1, 1, 1)),
        {"people": "largest"},
        {0},
    ),
    ("nobody", [], {"people": "largest"}, set()),
]


@pytest.mark.parametrize(
    ("seen", "settings", "kept"), [case[1:] for case in PEOPLE], ids=[case[0] for case in PEOPLE]
)
def test_people_kept(seen: list[CropEntry], settings: dict[str, object], kept: set[int]) -> None:
    assert select_people(seen, ExtractConfig(**settings)) == kept  # type: ignore[arg-type]
