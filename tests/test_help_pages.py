"""The lists of options in docs/ are those of the commands."""

import runpy
from pathlib import Path

import pytest
import typer

from deepkd.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = runpy.run_path(str(ROOT / "tools" / "help_pages.py"))
COMMANDS = {command: page for page, commands in SCRIPT["PAGES"].items() for command in commands}


def test_every_command_has_a_page() -> None:
    assert COMMANDS.keys() == typer.main.get_command(app).commands.keys()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_is_current(command: str) -> None:
    page = (ROOT / "docs" / f"{COMMANDS[command]}.md").read_text()
    assert SCRIPT["renew"](page, command) == page, "run tools/help_pages.py (make docs)"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_names_every_option_and_explains_those_of_help(command: str) -> None:
    listed = SCRIPT["options"](command)
    explained = listed + SCRIPT["options"](SCRIPT["SHARED"].get(command, command))
    rare = [item for item in SCRIPT["commands"]()[command].params if SCRIPT["is_rare"](item)]
    other = SCRIPT["SHARED"].get(command)
    listed_elsewhere = SCRIPT["rare_names"](other) if other else []
    assert bool(rare) == (f"`deepkd {command} --help-all` explains" in listed)
    for parameter in typer.main.get_command(app).commands[command].params:
        argument = parameter.metavar or parameter.name.upper()
        for name in parameter.opts if parameter.param_type_name == "option" else [argument]:
            assert f"`{name}" in (explained if name in listed_elsewhere else listed)
        is_rare = parameter.name in {item.name for item in rare}
        choices, text = SCRIPT["split_choices"](parameter)
        entry = f"{choices}`  \n{text}"
        assert entry not in listed if is_rare else entry in explained
        assert all(choice in parameter.help for choice in choices.split("|"))


def test_only_what_lies_between_the_markers_is_made() -> None:
    start, end = SCRIPT["START"].format("detect"), SCRIPT["END"].format("detect")
    made = SCRIPT["renew"](f"before\n{start}\nold\n{end}\nafter\n", "detect")
    assert made.startswith(f"before\n{start}\n`SOURCE...`") and made.endswith(f"\n{end}\nafter\n")
    assert "old\n" not in made


def test_options_that_another_page_explains_are_only_named() -> None:
    listed = SCRIPT["options"]("distill")
    assert "The same as in [train](train.md#options): `--data`" in listed and "`--epochs`" in listed
    assert "Passes over the training crops." not in listed and "`--alpha NUMBER`" in listed


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(SystemExit, match="needs each of the marks <!-- options of prune"):
        SCRIPT["renew"]("no marks", "prune")
