"""Sources: files, folders, globs or a list on standard input as single inputs."""

import codecs
import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path
from typing import BinaryIO, Self

from deepkd.errors import UsageError
from deepkd.stores import is_stored, list_objects
from deepkd.text import UTF_8, find_encoding
from deepkd.video.suffixes import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from deepkd.video.walk import folders_below, folders_in, is_wanted, walk

STDIN = "-"
URL_HINT = "is a URL that deepkd does not fetch; download it first and give the file"
EXTRA_HINT = (
    "is a URL; download it first and give the file, or have it fetched: pip install 'deepkd[url]'"
)
EMPTY_HINT = "no object below it is a video or image (known by names such as .mp4, .mkv, .jpg)"
LONGEST = 4096
"""Bytes of the longest path that a system takes."""

FOLDER_HINT = "is a folder; in a list name its files, or give the folder as an argument"

_CONTENT = re.compile(rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]|(?:^|\0)\0+[^\0]")
"""Control bytes, or an empty record before another: what no list begins with."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_LINK = re.compile(r"https?://", re.IGNORECASE)
_GLOB = re.compile(r"[*?\[]")
_SLASH = f"[/{re.escape(os.sep)}]"
_ANY_DEPTH = re.compile(rf"(?:^|(?<={_SLASH}))(?:\*\*{_SLASH}+)*\*\*(?:{_SLASH}+|$)")


@dataclass(frozen=True, eq=False)
class Source:
    """One input to judge, or the reason why it cannot be one."""

    path: Path
    problem: str = ""
    """In plain words; empty where the path can be tried."""
    link: str = field(default="", repr=False)
    """Where the input is to be fetched from; `path` shows it without credentials."""

    def __post_init__(self) -> None:
        """Take a string for a path."""
        if not isinstance(self.path, Path):
            object.__setattr__(self, "path", Path(self.path))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Source):
            return NotImplemented
        return (self.path, self.problem) == (other.path, other.problem)

    def __hash__(self) -> int:
        return hash(self.path)


class _Unchecked(Source):
    """A path that is looked at when its problem is first asked for.

    On a network file system each look takes time, and another shard may have the path.
    """

    def __init__(self, path: Path, find_problem: Callable[[Path], str]) -> None:
        vars(self).update(path=path, _find=find_problem, _found=None)

    @property
    def problem(self) -> str:
        if vars(self)["_found"] is None:
            vars(self)["_found"] = vars(self)["_find"](self.path)
        return str(vars(self)["_found"])


class _Address(type(Path())):  # type: ignore[misc]
    """A URL that was given for a path, shown without credentials: a path would fold its `//`."""

    def __new__(cls, url: str) -> Self:
        from deepkd.origin.addresses import hide_credentials

        url = hide_credentials(url)
        self = super().__new__(cls, url)
        self.url = url
        return self

    def __str__(self) -> str:
        return self.url

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return _Address, (self.url,)


def as_source(path: str | os.PathLike[str], *, takes_links: bool = False) -> Source:
    """The input at one path, which is neither a pattern nor a folder of inputs.

    Nothing is opened. A path that cannot be tried, such as an address `ftp://`, has a problem.

    Args:
        path: of a file, or an address.
        takes_links: see `find_sources`.
    """
    name = os.fspath(path)
    if _URL.match(name):
        problem = "" if is_stored(name) else _why_not(name, takes_links)
        return Source(_Address(name), problem, "" if problem or is_stored(name) else name)
    if not name:
        return Source(Path(name), "the name is empty")
    if "\0" in name:
        shown = Path(name.replace("\0", "?"))
        return Source(shown, "the name has a NUL byte, which no file can have")
    return _Unchecked(Path(path), _problem)


def expand_paths(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
) -> Iterator[Source]:
    """The inputs behind paths and links, as `find_sources` does.

    An address that is not fetched has a problem instead of an error. Paths are taken one by one, so
    there may be very many.
    """
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        name = os.fspath(path)
        is_url = _URL.match(name) and not is_stored(name)
        yield from [as_source(path, takes_links=True)] if is_url else _one(name)


def find_sources(
    names: Iterable[str | os.PathLike[str]],
    *,
    stdin: BinaryIO | None = None,
    takes_links: bool = False,
) -> Iterator[Source]:
    """The inputs behind the names, one after the other; nothing is opened, so nothing can hang.

    A folder stands for the videos and images in it and below, in order of name, hidden ones left
    out. A name that does not exist and has `*`, `?` or `[` is a pattern; `**` in it stands for
    folders of any depth. An address such as `s3://bucket/clips` stands for the objects below it.
    `-` reads paths of files and links from `stdin`, one a line, or ended by NUL (`find
    -print0`); a folder or another URL among them has a problem.

    Args:
        names: files, folders, patterns, addresses, or `-`.
        stdin: where `-` reads paths from.
        takes_links: an http or https address is an input, if the extra `url` is installed.

    Raises:
        UsageError: a name is another URL (before the first input is given).
    """
    given = [os.fspath(name) for name in names]
    for name in given:
        if not _URL.match(name) or is_stored(name):
            continue
        if hint := _why_not(name, takes_links):
            raise UsageError(f"{_Address(name)}: {hint}")
    return _expand(given, stdin, takes_links)


def _why_not(url: str, takes_links: bool) -> str:
    """Why a URL is not fetched; "" where it is."""
    from deepkd.origin.addresses import can_fetch

    if not takes_links or not is_link(url):
        return URL_HINT
    return "" if can_fetch() else EXTRA_HINT


def is_link(name: str) -> bool:
    """Whether a name is an http or https address."""
    return bool(_LINK.match(name))


def _expand(names: list[str], stdin: BinaryIO | None, takes_links: bool) -> Iterator[Source]:
    for name in names:
        if is_link(name):
            yield as_source(name, takes_links=takes_links)
        else:
            yield from _read_list(stdin, takes_links) if name == STDIN else _one(name)


def _read_list(stdin: BinaryIO | None, takes_links: bool) -> Iterator[Source]:
    empty = True
    for name in _names(stdin) if stdin else ():
        empty = False
        yield from map(_refuse_folder, _match(name, takes_links))
    if empty:
        yield Source(
            Path(STDIN), "no paths came on standard input; check the command that lists them"
        )


def _match(name: str, takes_links: bool) -> Iterable[Source]:
    """The inputs that a line of a list names."""
    is_pattern = _GLOB.search(name) and "\0" not in name and not _URL.match(name)
    if not is_pattern or os.path.lexists(name):
        return [as_source(name, takes_links=takes_links)]
    return map(as_source, _matches(name)) if _matches(name) else _pattern(name)


def _refuse_folder(source: Source) -> Source:
    """The input; a folder has a problem: a stray line such as `/` must not have a disk judged."""
    return _Unchecked(source.path, _problem_in_list) if type(source) is _Unchecked else source


def _problem_in_list(path: Path) -> str:
    return _problem(path) or (FOLDER_HINT if os.path.isdir(path) else "")


def _names(stdin: BinaryIO) -> Iterator[str]:
    """Paths from a stream of lines, or of NUL-ended records; any bytes are kept.

    The name in a record may hold newlines, so the first lines wait for a NUL, until one names
    something that is there or they are longer than a name can be.

    Raises:
        UsageError: the first lines have control bytes, as those of a clip do.
    """
    head = b""
    while len(head) <= LONGEST and (line := stdin.readline(LONGEST + 1)):
        head = (head + line).removeprefix(codecs.BOM_UTF8)
        if (encoding := find_encoding(head[:4])) != UTF_8:
            text = (head + stdin.read()).decode(encoding, "replace")
            yield from filter(None, re.split("\r?\n", text.removeprefix("\ufeff")))
            return
        if b"\0" in line:
            head += stdin.read()
            _refuse_content(head.partition(b"\0")[0], head[:LONGEST])
            yield from (os.fsdecode(name) for name in head.split(b"\0") if name)
            return
        name = _strip(line.removeprefix(codecs.BOM_UTF8))
        _refuse_content(name, line)
        if _is_there(name):
            break
    if not head.endswith(b"\n"):
        head += stdin.readline()
    yield from map(os.fsdecode, filter(None, map(_strip, chain(head.split(b"\n"), stdin))))


def _refuse_content(name: bytes, head: bytes) -> None:
    """Make sure that standard input, which begins with `head`, is a list and no clip."""
    if _CONTENT.search(head) and not _is_there(name):
        raise UsageError(
            "standard input is a file, not a list of paths (its first lines have control bytes);"
            " give the file by its name: deepkd detect clip.mp4"
        )


def _is_there(name: bytes) -> bool:
    text = os.fsdecode(name)
    return os.path.lexists(text) or bool(_matches(text))


def _strip(line: bytes) -> bytes:
    return line.rstrip(b"\r\n")


def _one(name: str) -> Iterator[Source]:
    is_path = bool(name) and "\0" not in name
    if is_stored(name):
        yield from _list_stored(name)
    elif is_path and os.path.isdir(name):
        yield from _folder(Path(name))
    elif is_path and _GLOB.search(name) and not os.path.lexists(name):
        yield from _pattern(name)
    else:
        yield as_source(name)


def _list_stored(url: str) -> Iterator[Source]:
    """The object of an address that ends as a video or image does, else those below the address."""
    empty = True
    if is_wanted(url):
        yield as_source(url)
        return
    for found in list_objects(url):
        if is_wanted(found.url) and not os.path.basename(found.url).startswith("."):
            empty = False
            yield as_source(found.url)
    if empty:
        yield Source(_Address(url), EMPTY_HINT)


def _problem(path: Path) -> str:
    """Why a path cannot even be tried."""
    try:
        path.stat()
    except FileNotFoundError:
        broken = path.is_symlink()
        return (
            "is a link to a file that does not exist"
            if broken
            else "does not exist; check the name"
        )
    except OSError as error:
        return f"cannot be reached ({error.strerror})"
    return ""


def _pattern(name: str) -> Iterator[Source]:
    found = _matches(name)
    if not found:
        yield Source(Path(name), "no file has a name like this; check the pattern")
    sources = _match_names(found)
    yield from _each_once(sources) if _ANY_DEPTH.search(name) else sources


def _match_names(names: Iterable[str]) -> Iterator[Source]:
    """The inputs behind paths that exist, without a look at each of them."""
    for parent, group in groupby(names, os.path.dirname):
        folders = folders_in(parent)
        for name in group:
            is_folder = name.endswith(os.sep) or os.path.basename(name) in folders
            yield from _folder(Path(name)) if is_folder else [as_source(name)]


def _matches(name: str) -> list[str]:
    """The paths that match, by name; `**` stands for folders of any depth."""
    deep = _ANY_DEPTH.search(name)
    if not deep:
        return sorted(glob.glob(name))
    head, tail = name[: deep.start()], name[deep.end() :]
    tops = glob.glob(head) if head else [""]
    patterns = (os.path.join(glob.escape(folder), tail or "*") for folder in folders_below(tops))
    found = {path for pattern in patterns for path in _matches(pattern)}
    return sorted(path for path in found if tail or not os.path.isdir(path))


def _each_once(sources: Iterable[Source]) -> Iterator[Source]:
    """Each file once, by its shortest path, where several paths lead to it."""
    shortest: dict[str, Source] = {}
    for source in sorted(sources, key=lambda source: len(source.path.parts)):
        place = os.path.join(os.path.realpath(source.path.parent), source.path.name)
        shortest.setdefault(place, source)
    yield from sorted(shortest.values(), key=lambda source: source.path)


def _folder(top: Path) -> Iterator[Source]:
    empty = True
    for path, problem in walk(top):
        empty = False
        yield Source(path, problem) if problem else _Unchecked(path, _problem)
    if empty:
        yield Source(
            top,
            "is a folder without videos or images (known by names such as .mp4, .mkv, .webm, .jpg)",
        )


def count_passed_over(names: Iterable[str | os.PathLike[str]]) -> Counter[str]:
    """The files in folders that are no inputs because of their ending: ending -> number.

    Args:
        names: as `find_sources` takes them; only those of folders count.
    """
    count: Counter[str] = Counter()
    for name in names:
        for _, folders, files in os.walk(name):
            folders[:] = [folder for folder in folders if not folder.startswith(".")]
            endings = (os.path.splitext(file)[1].lower() for file in files if file[0] != ".")
            count.update(end for end in endings if end not in VIDEO_SUFFIXES | IMAGE_SUFFIXES)
    return count
