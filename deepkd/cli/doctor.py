"""`deepkd doctor`: is this installation able to judge a video?"""

import json
import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from deepkd.cli.options import check_format

FORMATS = ("table", "json")


def doctor(
    format: Annotated[
        str, typer.Option(help=f"Output format. One of: {', '.join(FORMATS)}.")
    ] = "table",
) -> None:
    """Check versions, devices, video decoders and the shipped models.

    Exit codes: 0 `deepkd detect` can work; 1 it cannot.
    """
    from deepkd.doctor import examine, to_document, usable

    check_format(format, FORMATS)
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
