"""Every error deepkd raises on purpose, and the exit code each one means at the command line.

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

    Interrupted, which is a KeyboardInterrupt: a signal ends the program; exit 128 and its number,
        130 for Ctrl-C

A message says what is wrong, with which value, and what to do next.
"""

import signal


class DeepKDError(Exception):
    """Base of all errors that deepkd raises on purpose."""

    exit_code: int = 1


class UsageError(DeepKDError):
    """The call itself is wrong."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting has an unknown name, a wrong type, an unknown choice or a value out of range."""


class InputError(DeepKDError):
    """One input cannot be judged; the others can."""


class VideoError(InputError):
    """A video cannot be opened or decoded."""


class ImageError(InputError):
    """A still image cannot be opened or decoded."""


class DataError(DeepKDError):
    """An index, a data set layout or a split is wrong."""


class ModelError(DeepKDError):
    """A model file is missing, damaged, of another kind, or untrained."""


class TrainingError(DeepKDError):
    """A training cannot go on, e.g. its loss is no longer finite."""


class OutputError(DeepKDError):
    """A result cannot be written, or would overwrite another."""


class Interrupted(KeyboardInterrupt):
    """A signal ends the program, whatever it was at: Ctrl-C, or the system or a closing terminal that asks for it."""

    def __init__(
        self, number: int = signal.SIGINT, message: str = "interrupted; what was finished is kept"
    ) -> None:
        super().__init__(message)
        self.exit_code = 128 + number

    @classmethod
    def told_by(cls, interrupt: KeyboardInterrupt) -> "Interrupted":
        """What has interrupted the program: Ctrl-C, unless it says otherwise."""
        return interrupt if isinstance(interrupt, cls) else cls()
