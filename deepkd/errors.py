"""Every error deepkd raises on purpose, and the exit code of each one at the command line.

    DeepKDError                exit 1, nothing could be done
    ├── UsageError             exit 2, the call itself is wrong (flags, URLs)
    │   └── ConfigError        a key, type, choice or range in a config file, variable or flag
    ├── InputError             one input cannot be judged; a batch goes on (exit 3 at its end)
    │   ├── VideoError         cannot be opened or decoded
    │   └── ImageError         likewise, a still image
    ├── DataError              an index, a data set layout or a split is wrong
    ├── ModelError             a model file is missing, damaged, of another kind, or untrained
    ├── TrainingError          a training cannot go on, e.g. it diverged
    └── OutputError            the result cannot be written, or would overwrite another

    Interrupted, a KeyboardInterrupt: a signal ends the program; exit 128 and the number of the
        signal, 130 for Ctrl-C

A message says what is wrong, with which value, and what to do next.
"""

import signal


class DeepKDError(Exception):
    """Base of all errors that deepkd raises on purpose.

    Example:
        >>> try:
        ...     deepkd.detect("notes.txt")
        ... except deepkd.DeepKDError as error:
        ...     print(type(error).__name__, error.exit_code)
        VideoError 1
    """

    exit_code: int = 1


class UsageError(DeepKDError):
    """The call itself is wrong."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting has an unknown name, a wrong type, an unknown choice or a value out of range.

    Example:
        >>> try:
        ...     deepkd.detect("clip.mp4", rule="median")
        ... except deepkd.ConfigError as error:
        ...     print(error)
        unknown rule 'median'; choose from mean-logit, upstream
    """


class InputError(DeepKDError):
    """One input cannot be judged; the others can."""


class VideoError(InputError):
    """A video cannot be opened or decoded.

    Example:
        >>> try:
        ...     deepkd.detect("missing.mp4")
        ... except deepkd.VideoError as error:
        ...     print(error)
        missing.mp4: does not exist; check the name
    """


class ImageError(InputError):
    """A still image cannot be opened or decoded.

    Example:
        >>> try:
        ...     deepkd.detect("cut-off.jpg")
        ... except deepkd.ImageError as error:
        ...     print(error)
        cut-off.jpg: the image is cut off or damaged; copy or save it again
    """


class DataError(DeepKDError):
    """An index, a data set layout or a split is wrong.

    Example:
        >>> try:
        ...     deepkd.evaluate("deepkd-nano", "crops", split="holdout")
        ... except deepkd.DataError as error:
        ...     print(error)  # doctest: +ELLIPSIS
        crops: split 'holdout' has no rows; its splits are test, train, val; ...
    """


class ModelError(DeepKDError):
    """A model file is missing, damaged, of another kind, or untrained.

    Example:
        >>> try:
        ...     deepkd.load_model("student.onnx")
        ... except deepkd.ModelError as error:
        ...     print(error)  # doctest: +ELLIPSIS
        student.onnx: no such model; give an .onnx file or one of deepkd-nano, ...
    """


class TrainingError(DeepKDError):
    """A training cannot go on, e.g. its loss is no longer finite.

    Example:
        >>> try:
        ...     deepkd.train("crops", model="pico", out="runs/fast", batch=2, lr=1e30)
        ... except deepkd.TrainingError as error:
        ...     print(error)  # doctest: +ELLIPSIS
        the loss is ...
    """


class OutputError(DeepKDError):
    """A result cannot be written, or would overwrite another.

    Example:
        >>> try:
        ...     deepkd.train("crops", model="pico", out="teacher")
        ... except deepkd.OutputError as error:
        ...     print(error)
        teacher: holds a run already; give --resume to go on, or another --out
    """


class Interrupted(KeyboardInterrupt):
    """A signal ends the program: Ctrl-C, SIGTERM, or SIGHUP.

    Example:
        >>> try:
        ...     raise deepkd.Interrupted
        ... except KeyboardInterrupt as stop:
        ...     print(stop, "| exit code", stop.exit_code)
        interrupted; what was finished is kept | exit code 130
    """

    def __init__(
        self, number: int = signal.SIGINT, message: str = "interrupted; what was finished is kept"
    ) -> None:
        super().__init__(message)
        self.exit_code = 128 + number

    @classmethod
    def from_signal(cls, interrupt: KeyboardInterrupt) -> "Interrupted":
        """The same interrupt as an `Interrupted`; a plain KeyboardInterrupt is Ctrl-C."""
        return interrupt if isinstance(interrupt, cls) else cls()
