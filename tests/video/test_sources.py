import io
import os
import pickle
from pathlib import Path
from threading import Thread

import pytest

from deepkd.errors import UsageError
from deepkd.video.sources import (
    FOLDER_HINT,
    LONGEST,
    Source,
    count_passed_over,
    find_sources,
)
from deepkd.video.suffixes import IMAGE_SUFFIXES, VIDEO_SUFFIXES


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "b.mp4",
        "a/y.JPG",
        "a/deep/z.webm",
        "a/notes.txt",
        "a/.hidden.mp4",
        ".cache/x.mp4",
        "c[1].mp4",
        "empty/x",
        "odd\x01.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*names: str, stdin: bytes = b"") -> list[str]:
    return [
        f"{s.path}: {s.problem}" if s.problem else str(s.path)
        for s in find_sources(names, stdin=io.BytesIO(stdin))
    ]


CASES = {
    "a file": (["b.mp4"], ["b.mp4"]),
    "any file that is named, whatever its suffix": (["a/notes.txt"], ["a/notes.txt"]),
    "a folder": (["a"], ["a/deep/z.webm", "a/y.JPG"]),
    "the folder that we are in": (["."], ["a/deep/z.webm", "a/y.JPG", "b.mp4", "c[1].mp4"]),
    "a pattern": (["*.mp4"], ["b.mp4", "c[1].mp4"]),
    "a pattern for folders": (["*/deep"], ["a/deep/z.webm"]),
    "any depth": (["**/*.webm"], ["a/deep/z.webm"]),
    "any depth below a folder": (["a/**/*.webm"], ["a/deep/z.webm"]),
    "any depth below any folder": (["*/**/*.[wJ]*"], ["a/deep/z.webm", "a/y.JPG"]),
    "any depth twice": (["**/**/a/**/z.*"], ["a/deep/z.webm"]),
    "any depth, folders and what is in them": (["**/[ad]*"], ["a/deep/z.webm", "a/y.JPG"]),
    "all files at any depth": (["a/**"], ["a/deep/z.webm", "a/notes.txt", "a/y.JPG"]),
    "any depth, no match": (["**/*.avi"], [(
"**/*.avi: no file has a name like this; check the"
" pattern"
)]),
    "any depth, brackets": (["**/c[[]1[]].mp4"], ["c[1].mp4"]),
    "a name with brackets is no pattern": (["c[1].mp4"], ["c[1].mp4"]),
    "no match": (["*.avi"], ["*.avi: no file has a name like this; check the pattern"]),
    "missing": (["x.mp4"], ["x.mp4: does not exist; check the name"]),
    "several, in this order": (["b.mp4", "a/deep", "b.mp4"], ["b.mp4", "a/deep/z.webm", "b.mp4"]),
    "an empty folder": (
        ["empty"], [(
"empty: is a folder without videos or images (known by names such as .mp4,"
" .mkv, .webm, .jpg)"
)],
    ),
    "nothing": ([], []),
    "an empty name": ([""], [".: the name is empty"]),
    "a NUL byte": (["a\0b"], ["a?b: the name has a NUL byte, which no file can have"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_names(name: str, tree: Path):
    names, expected = CASES[name]
    assert found(*names) == expected


NO_PATHS = "-: no paths came on standard input; check the command that lists them"
STDIN = {
    "lines": (b"b.mp4\na/deep\n", ["b.mp4", f"a/deep: {FOLDER_HINT}"]),
    "UTF-8 with a mark": (b"\xef\xbb\xbfb.mp4\r\n", ["b.mp4"]),
    "UTF-16 with a mark": ("\ufeffb.mp4\r\nb.mp4\r\n".encode("utf-16-le"), ["b.mp4", "b.mp4"]),
    "UTF-16 of the other order": ("\ufeffb.mp4\n".encode("utf-16-be"), ["b.mp4"]),
    "UTF-16 without a mark": ("b.mp4\r\nb.mp4".encode("utf-16-le"), ["b.mp4", "b.mp4"]),
    "the folder above all": (b"x\n/\n.\n", [
        "x: does not exist; check the name", f"/: {FOLDER_HINT}", f".: {FOLDER_HINT}",
    ]),
    "a pattern that matches folders": (b"a*\n", [f"a: {FOLDER_HINT}"]),
    "a name of control bytes that is there": (b"odd\x01.txt\nb.mp4\n", ["odd\x01.txt", "b.mp4"]),
    (
"no newline at the end, empty lines, Windows"
" lines"
): (b"\nb.mp4\r\n\nb.mp4", ["b.mp4", "b.mp4"]),
    "ended by NUL": (b"b.mp4\0two\nlines.mp4\0", ["b.mp4", (
"two\nlines.mp4: does not exist;"
" check the name"
)]),
    "ended by NUL, newlines in the first": (
        b"\nthree\nlines.mp4\0b.mp4\0", [(
"\nthree\nlines.mp4: does not exist; check the"
" name"
), "b.mp4"],
    ),
    "lines, the first missing, one with a carriage return": (
        b"x.mp4\na\rb\nb.mp4\n",
        ["x.mp4: does not exist; check the name", "a\rb: does not exist; check the name", "b.mp4"],
    ),
    "lines, a NUL after them": (
        b"*.mp4\nb\0c\n", ["b.mp4", "c[1].mp4", (
"b?c: the name has a NUL byte, which no file"
" can have"
)],
    ),
    "a URL": (b"ftp://a/b\n", [(
"ftp://a/b: is a URL that deepkd does not fetch; download it"
" first and give the file"
)]),
    "bytes": (b"\xff.mp4\n", ["\udcff.mp4: does not exist; check the name"]),
    "empty": (b"", [NO_PATHS]),
    "empty lines": (b"\n\r\n", [NO_PATHS]),
    "NULs": (b"\0\0", [NO_PATHS]),
}  # fmt: skip


@pytest.mark.parametrize("name", STDIN)
def test_standard_input(name: str, tree: Path):
    data, expected = STDIN[name]
    assert found("-", stdin=data) == expected


CONTENTS = {
    "MP4": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2\n/\n.\n*\n",
    "MP4, a name that is there before its first control byte": b"\0\0\0 ftyp\n.\n\0\0\2\0",
    "Matroska": b"\x1a\x45\xdf\xa3\n/\n",
    "AVI": b"RIFF\x24\x10\x02\0AVI LIST",
    "JPEG": b"\xff\xd8\xff\xe0\0\x10JFIF\0\1",
    "PNG": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_clip_on_standard_input_is_no_list(name: str, tree: Path):
    with pytest.raises(UsageError, match=r"not a list of paths .* deepkd detect clip\.mp4$"):
        found("-", stdin=CONTENTS[name])


@pytest.mark.parametrize("first", [b"b.mp4\n", b"a\n", b"*.mp4\n", LONGEST * b"x" + b"\n"])
def test_lines_are_taken_as_they_come(first: bytes, tree: Path):
    out, into = os.pipe()
    with open(out, "rb") as stdin, open(into, "wb", buffering=0) as producer:
        producer.write(first)
        sources = find_sources(["-"], stdin=stdin)
        reader = Thread(target=next, args=(sources,), daemon=True)
        reader.start()
        reader.join(20)
        waits = reader.is_alive()
        producer.write(b"b.mp4\n" * LONGEST)
    assert not waits


def test_urls_are_kept_as_given_on_their_way_through_processes():
    (source,) = find_sources(["-"], stdin=io.BytesIO(b"https://example.org//a.mp4"))
    again = pickle.loads(pickle.dumps(source))
    assert again == source and str(again.path) == str(source.path) == "https://example.org//a.mp4"


@pytest.mark.parametrize(
    "url", ["http://a/b.mp4", "HTTPS://a/b.mp4", "rtsp://a", "ftp://a/b", "file:///a/b.mp4"]
)
def test_urls_are_refused_at_once(url: str, tree: Path):
    with pytest.raises(UsageError, match="is a URL"):
        find_sources(["b.mp4", url])


@pytest.mark.parametrize("name", ["c:b.mp4", "://", "a://"])
def test_odd_names_are_no_urls(name: str, tree: Path):
    assert "URL" not in found(name)[0]


def test_links(tree: Path):
    (tree / "a/up").symlink_to("..")
    (tree / "a/side").symlink_to("../empty")
    (tree / "a/self.mp4").symlink_to("self.mp4")
    (tree / "a/gone.mp4").symlink_to("nowhere")
    (tree / "a/good.mp4").symlink_to("../b.mp4")
    assert found("a") == [
        "a/deep/z.webm",
        "a/gone.mp4: is a link to a file that does not exist",
        "a/good.mp4",
        f"a/self.mp4: cannot be reached ({os.strerror(40)})",
        "a/up/b.mp4",
        "a/up/c[1].mp4",
        "a/y.JPG",
    ]
    assert "a/up: is a link back to a folder above it; it was not followed" in found(".")


def test_patterns_of_any_depth_end_where_links_lead_in_circles(tree: Path):
    (tree / "a/l1").symlink_to(".")
    assert found("a/**/*.webm") == ["a/deep/z.webm"]
    (tree / "a/l2").symlink_to(".")
    (tree / "b-again").symlink_to("a/deep")
    assert found(f"{tree}/**/*.webm") == [f"{tree}/a/deep/z.webm"]
    assert found("a/**/l1/y.JPG") == ["a/l1/y.JPG"]
    assert found("**/[bd]*") == ["b-again/z.webm", "b.mp4"]
    assert found("a/**") == ["a/deep/z.webm", "a/notes.txt", "a/y.JPG"]


def test_folders_that_link_to_each_other_end(tmp_path: Path):
    for name in "abcdefghij":
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.mp4").touch()
        for other in "abcdefghij":
            (tmp_path / name / f"to-{other}").symlink_to(tmp_path / other)
    good = [source for source in find_sources([str(tmp_path)]) if not source.problem]
    assert len({os.path.realpath(source.path) for source in good}) == len(good) == 10


def test_deep_folders(tmp_path: Path):
    deep = tmp_path.joinpath(*["d"] * 500)
    deep.mkdir(parents=True)
    (deep / "x.mp4").touch()
    assert list(find_sources([str(tmp_path)])) == [Source(deep / "x.mp4")]


def test_suffixes_are_lower_case_and_kept_apart():
    assert all(
        suffix == suffix.lower() and suffix.startswith(".")
        for suffix in VIDEO_SUFFIXES | IMAGE_SUFFIXES
    )
    assert not VIDEO_SUFFIXES & IMAGE_SUFFIXES


def test_files_of_folders_that_are_passed_over_are_counted(tmp_path: Path):
    names = (
        "a.mp4",
        "a.HEIC",
        "b.avif",
        "c.tif",
        "d.jxl",
        "e.JXL",
        "notes",
        ".hidden",
        ".git/f.txt",
    )
    for name in ("top.txt", *(f"in/{name}" for name in names)):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    found = [source.path.name for source in find_sources([tmp_path / "in"])]
    assert found == ["a.HEIC", "a.mp4", "b.avif", "c.tif"]
    given = [tmp_path / "in", tmp_path / "top.txt", "-"]
    assert count_passed_over(given) == {".jxl": 2, "": 1}
