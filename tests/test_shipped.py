"""The shipped models are whole, say what they are, and give their golden scores."""

import html
import json
import re
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import onnx
import pytest
from media import Image

from deepkd import shipped
from deepkd.errors import ModelError
from deepkd.images import pattern
from deepkd.report import Provenance, open_report
from deepkd.scoring.model import METADATA_KEY, Scorer
from deepkd.shipped import (
    checksums,
    golden_logit,
    shipped_card,
    shipped_file,
    shipped_students,
    weights_dir,
)
from deepkd.video.crops import crop_face
from deepkd.video.faces import load_detector
from deepkd.video.frames import Frame

GOLDEN = json.loads((weights_dir() / "golden.json").read_text())
STUDENTS = shipped_students()


def test_every_file_is_listed_and_verified() -> None:
    assert {path.name for path in weights_dir().glob("*.onnx")} == checksums().keys()
    assert all(shipped_file(name).is_file() for name in checksums())
    assert "deepkd-nano" in STUDENTS and GOLDEN.keys() == set(STUDENTS)


@pytest.mark.parametrize("name", STUDENTS)
def test_golden_scores(name: str, astronaut: Image, grace_hopper: Image) -> None:
    scorer, detector = Scorer.load(name), load_detector("mtcnn", device="cpu")
    for person, image in (("astronaut", astronaut), ("grace_hopper", grace_hopper)):
        face = detector.detect(image)[0]
        crop = crop_face(
            Frame(image, 0.0, 0), face, face_px=scorer.format.size, rule=scorer.format.crop
        )
        assert scorer.logits([crop.image])[0] == pytest.approx(GOLDEN[name][person], abs=0.02)
    assert scorer.logits([pattern(scorer.format.size)])[0] == pytest.approx(
        golden_logit(name), abs=0.02
    )


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_keeps_its_budget_and_says_what_it_is(name: str) -> None:
    scorer = Scorer.load(name)
    assert scorer.name == name and scorer.params <= 506_888 and scorer.bytes <= 2_200_000
    graph = onnx.load(scorer.path)
    stored = sum(int(onnx.numpy_helper.to_array(tensor).size) for tensor in graph.graph.initializer)
    assert 0.8 * scorer.params < stored <= scorer.params, (
        "batch norms are folded, nothing else is missing"
    )
    said = json.loads(next(p.value for p in graph.metadata_props if p.key == METADATA_KEY))
    assert said["recipe"].get("teacher") or said["recipe"]["data"], "who or what taught it"
    assert 0 < scorer.thresholds.real <= scorer.thresholds.fake < 1


def card_page(name: str) -> str:
    """The card of a student: the page of `weights/` that its name is the title of."""
    pages = [path.read_text(encoding="utf-8") for path in sorted(weights_dir().glob("*.md"))]
    return next(page for page in pages if page.splitlines()[0] == f"# {name}")


def areas(page: str, name: str) -> dict[str, str]:
    """Data set -> AUC with its interval, from the table of figures of a student's card."""
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in page.split("<!-- figures -->")[1].splitlines()
        if line.startswith("|")
    ]
    figures = next(row for row in rows if row[0] == f"AUC of {name}")
    return dict(zip(rows[0][1:], figures[1:], strict=True))


@pytest.mark.parametrize("name", STUDENTS)
def test_what_reports_say_of_a_student_stands_in_its_card(name: str) -> None:
    card, page = shipped_card(Scorer.load(name).sha256), card_page(name)
    assert (card["file"], card["sha256"]) == (f"{name}.onnx", checksums()[f"{name}.onnx"])
    assert all(
        " ".join(text.split()) in " ".join(page.split())
        for text in (card["trained_on"], *card["limits"])
    )
    assert card["auc"] == areas(page, name) and all(
        re.match(r"0\.\d{3} \[", area) for area in card["auc"].values()
    )
    assert any(data.startswith("FaceForensics++") for data in card["auc"]), (
        "a data set that it never saw"
    )
    assert any("FaceForensics++" in text and "chance" in text for text in card["limits"])
    assert len(card["limits"]) > 1, "not only what the measurement says"


def test_the_readme_quotes_the_card() -> None:
    page = card_page("deepkd-nano")
    readme = Path(__file__).parents[1].joinpath("README.md").read_text()
    known = {name: area.split()[0] for name, area in areas(page, "deepkd-nano").items()}
    for name in ("DFDC test", "FaceForensics++"):
        (found, missed), (alarms, passed) = (
            re.search(
                rf"\| {re.escape(name)}, [\d,]+ {kind} \| (.*?) \| .*? \| (.*?) \|", page
            ).groups()
            for kind in ("forged", "real")
        )
        cells = f"{known[name]} | {found}% / {missed}% | {alarms}% / {passed}% |"
        assert re.search(rf"^\| {re.escape(name)} \(.*?\) \| {re.escape(cells)}$", readme, re.M)
    assert f"whole FaceForensics++ videos, AUC is {known['FaceForensics++ videos']}." in readme
    (label,) = re.findall(r"^ ([A-Z_]+) +\d+%   data/samples/forged\.mp4 ", readme, re.M)
    assert f"`forged.mp4` {label} (" in page


def test_there_is_no_card_for_other_models() -> None:
    assert shipped_card("ab" * 32) == {} == shipped_card(checksums()["mtcnn-pnet.onnx"])


@pytest.mark.parametrize("name", STUDENTS)
def test_the_report_has_the_essence_of_the_card(name: str) -> None:
    scorer, out = Scorer.load(name), StringIO()
    limits = scorer.thresholds.to_dict()
    report = open_report(
        "html",
        out,
        Provenance(scorer.name, scorer.sha256, scorer.params, scorer.metadata, thresholds=limits),
    )
    report.close()
    facts = dict(re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", html.unescape(out.getvalue())))
    card, said = shipped_card(scorer.sha256), scorer.metadata
    assert facts["trained on"] == card["trained_on"] and re.match(
        r"[\d,]+ face crops \(.+\) of \w", facts["trained on"]
    )
    assert all(
        f"{data}: {figure}" in facts["AUC, with 95% intervals"]
        for data, figure in card["auc"].items()
    )
    (limits_said,) = re.findall(
        f"<li>The card of {name} says of it: (.*?)</li>", html.unescape(out.getvalue())
    )
    assert all(limit.strip(".").lower() in limits_said.lower() for limit in card["limits"])
    assert facts["architecture"] == said["architecture"]
    recipe = said["recipe"]
    if "teacher" in recipe:
        start = f"teacher {recipe['teacher']}, loss {recipe['loss']}, alpha {recipe['alpha']:.4g}"
    else:
        start = f"epochs {recipe['epochs']}, batch {recipe['batch']}, lr {recipe['lr']:.4g}"
    assert facts["recipe"].startswith(start)
    assert (
        said["recipe"]["index_sha256"] in facts["recipe"]
        and said["recipe"]["families"] not in out.getvalue()
    )
    assert facts["calibration"].startswith(
        f"temperature {scorer.calibration.temperature:.4g}, bias "
    )
    assert facts["thresholds"] == f"REAL up to {limits['real']:.1%}, FAKE from {limits['fake']:.1%}"


@pytest.fixture
def copied_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "weights"
    shutil.copytree(weights_dir(), folder)
    monkeypatch.setattr(shipped, "weights_dir", lambda: folder)
    return folder


def test_an_altered_or_missing_model_is_refused(copied_weights: Path) -> None:
    path = copied_weights / "deepkd-nano.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="damaged or altered"):
        shipped_file("deepkd-nano.onnx")
    path.unlink()
    with pytest.raises(ModelError, match="missing"):
        shipped_file("deepkd-nano.onnx")
    with pytest.raises(ModelError, match=r"not a shipped model; choose from deepkd-nano\.onnx"):
        shipped_file("deepkd-giant.onnx")


@pytest.mark.parametrize("harm", ["{", "[]", '{"file": "deepkd-nano.onnx"}'])
def test_a_damaged_card_is_refused(copied_weights: Path, harm: str) -> None:
    (copied_weights / "deepkd-nano.json").write_text(harm)
    with pytest.raises(ModelError, match=r"deepkd-nano\.json: damaged; reinstall"):
        shipped_card(checksums()["deepkd-nano.onnx"])


def test_a_card_speaks_of_its_own_file_only(copied_weights: Path) -> None:
    sha256 = checksums()["deepkd-nano.onnx"]
    assert shipped_card(sha256)["sha256"] == sha256
    card = copied_weights / "deepkd-nano.json"
    card.write_text(card.read_text().replace(sha256, "0" * 64))
    assert shipped_card(sha256) == {}


@pytest.mark.parametrize(
    "harm", [lambda text: text[:100], lambda text: f"{text}and more\n", lambda text: "\xff" + text]
)
def test_a_damaged_list_of_checksums_is_refused(
    copied_weights: Path, harm: Callable[[str], str]
) -> None:
    path = copied_weights / shipped.CHECKSUMS
    path.write_text(harm(path.read_text()), encoding="latin-1")
    checksums.cache_clear()
    with pytest.raises(ModelError, match="SHA256SUMS: damaged"):
        shipped_file("deepkd-nano.onnx")
    path.write_bytes((weights_dir() / shipped.CHECKSUMS).read_bytes())
    assert shipped_file("deepkd-nano.onnx").is_file(), "what failed is not remembered"
