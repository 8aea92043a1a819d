"""`deepkd doctor`: is this installation able to judge a video?"""

import json
import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

FORMATS = ("table", "json")


def doctor(
    format: Annotated[
        str, typer.Option(help=f"What to print. One of: {', '.join(FORMATS)}.")
    ] = "table",
) -> None:
    """Check versions, devices, decoders and shipped models.

    Exit code 0 when `deepkd detect` can work, else 1.
    """
    from deepkd.doctor import examine, to_document, usable
    from deepkd.errors import UsageError

    if format not in FORMATS:
        raise UsageError(f"unknown format '{format}'; choose from {', '.join(FORMATS)}")
    with redirect_stdout(sys.stderr):  # where a broken library may print
        checks = examine()
    if format == "json":
        print(json.dumps(to_document(checks), indent=2))
    else:
        from deepkd.tables.doctor import print_checks

        print_checks(checks)
    sys.stdout.flush()
    if not usable(checks):
        raise typer.Exit(1)
