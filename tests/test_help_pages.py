"""The manual's list of options is that of the command."""

import runpy
from pathlib import Path

import typer

from deepkd.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = runpy.run_path(str(ROOT / "tools" / "help_pages.py"))


def test_the_page_is_current() -> None:
    page = (ROOT / "docs" / "detect.md").read_text()
    assert SCRIPT["renewed"](page) == page, "run tools/help_pages.py (make docs)"


def test_the_page_names_every_option_with_its_help() -> None:
    listed = SCRIPT["options"]("detect")
    for parameter in typer.main.get_command(app).commands["detect"].params:
        for name in parameter.opts if parameter.param_type_name == "option" else ["SOURCE..."]:
            assert f"`{name}" in listed
        assert parameter.help.replace("\\[", "[") in listed


def test_only_what_lies_between_the_markers_is_made() -> None:
    start, end = SCRIPT["START"], SCRIPT["END"]
    made = SCRIPT["renewed"](f"before\n{start}\nold\n{end}\nafter\n")
    assert made.startswith(f"before\n{start}\n- `SOURCE...`") and made.endswith(f"\n{end}\nafter\n")
    assert "old\n" not in made
