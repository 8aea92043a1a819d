"""Files have at most 400 lines, functions at most 50, and pages few words and short lines."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("deepkd", "tests", "tools", "benchmarks", "research", "examples")
FILE_LINES, FUNCTION_LINES = 400, 50
WORDS, README_WORDS, COLUMNS = 12_000, 600, 100


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_and_functions_stay_small(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    too_long = []
    for path in files:
        text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT)
        if (lines := text.count("\n")) > FILE_LINES:
            too_long.append(f"{name}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES:
                    too_long.append(f"{name}: {node.name} has {length} lines")
    assert not too_long, f"longer than {FILE_LINES} lines a file, {FUNCTION_LINES} a function"


def test_pages_stay_short() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    for folder in ("docs", "weights", "recipes", "data", "benchmarks"):
        pages += sorted((ROOT / folder).glob("*.md"))
    pages += (ROOT / "recipes").glob("*/*.md")
    words = {page: len(page.read_text(encoding="utf-8").split()) for page in pages}
    assert words[ROOT / "README.md"] <= README_WORDS and sum(words.values()) <= WORDS


def test_prose_stays_within_100_columns() -> None:
    made = re.compile(r"<!-- (?!/).*?<!-- /.*?-->|^```.*?^```", re.DOTALL | re.MULTILINE)
    too_long = [
        f"{page.relative_to(ROOT)}: {line[:40]}"
        for page in (*ROOT.glob("*.md"), *ROOT.glob("[!.]*/*.md"))
        for line in made.sub("", page.read_text(encoding="utf-8")).splitlines()
        if len(line) > COLUMNS and not line.startswith(("|", "![", "    "))
    ]
    assert not too_long
