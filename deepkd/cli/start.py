"""Start: the entry point. `detect` decodes its first clip while modules are imported.

The command line takes longer to import than the decoder, and the decoder needs no options.
"""

import os
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from deepkd.errors import Interrupted
from deepkd.imports import leave_working_folder

if TYPE_CHECKING:
    from deepkd.settings.detect import DetectConfig
    from deepkd.video.readahead import ReadAhead

SWITCH_S = 1e-4
"""How long the decoding thread waits for Python at most, between packets, while imports hold it; 5
ms each add up."""
FIRST_S = 0.15
"""How long the imports wait for the first frame: beside them it took 0.3 s, alone it takes 0.05
s."""
_early: "list[ReadAhead]" = []
"""The video whose decoding has begun, until `take_started` takes it."""


def main() -> None:
    """Run the command line."""
    leave_working_folder()
    for number in {
        signal.SIGTERM,
        getattr(signal, "SIGHUP", signal.SIGTERM),
    }:  # Windows has no SIGHUP
        if signal.getsignal(number) is signal.SIG_DFL:  # `nohup` has it ignored
            signal.signal(number, _interrupt)
    try:
        with suppress(Exception):  # which the program itself will meet, and explain
            _begin(sys.argv[1:])
        _run()
    except KeyboardInterrupt as interrupt:
        sys.exit(Interrupted.from_signal(interrupt).exit_code)
    finally:
        _drop()


def _run() -> None:
    """Run the program; a library that it is made of may be broken itself."""
    try:
        from deepkd.cli.app import main as run

        run()
    except Exception as error:
        from deepkd.environment import explain_failure

        described = explain_failure(error)
        if not described:
            raise
        print(f"error: {described}", file=sys.stderr)
        sys.exit(1)


def _interrupt(number: int, frame: object) -> NoReturn:
    """End as Ctrl-C does, when the system or a closing terminal asks for it."""
    raise Interrupted(number)


def take_started(path: Path | None, config: "DetectConfig") -> "ReadAhead | None":
    """The decoding of a clip that has begun with the frames of `config`, or None.

    The caller closes it. Any other decoding is ended.
    """
    usual = type(config)()
    if (
        _early
        and _early[0].path == path
        and (config.frames, config.every_s) == (usual.frames, usual.every_s)
    ):
        return _early.pop()
    _drop()
    return None


def _begin(words: Sequence[str]) -> None:
    """Begin to decode the likely first input of `detect`; a wrong guess is dropped."""
    clip = _first_clip(words[1:]) if words[:1] == ["detect"] else None
    if clip is None or {"-h", "--help", "--help-all"} & {*words}:
        return
    os.environ.setdefault(
        "OPENBLAS_NUM_THREADS", "1"
    )  # NumPy has no need of threads that take time to start
    from deepkd.video.frames import evenly
    from deepkd.video.readahead import ReadAhead

    sys.setswitchinterval(SWITCH_S)
    _early.append(ReadAhead(clip, evenly(_usual_samples)))
    import deepkd.settings.detect  # noqa: F401, which the thread needs once the file is open

    _early[0].wait(FIRST_S)


def _first_clip(words: Iterable[str]) -> Path | None:
    """The first word that names a file which looks like a video."""
    from deepkd.video.suffixes import VIDEO_SUFFIXES

    videos = (word for word in words if os.path.splitext(word)[1].lower() in VIDEO_SUFFIXES)
    return next((Path(word) for word in videos if os.path.isfile(word)), None)


def _usual_samples(duration_s: float) -> int:
    from deepkd.settings.detect import DetectConfig

    return DetectConfig().samples(duration_s)


def _drop() -> None:
    while _early:
        _early.pop().close()
