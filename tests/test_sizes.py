"""Files have at most 400 lines, functions at most 50: product, tests, tools and experiments."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("deepkd", "tests", "tools", "benchmarks", "research", "examples")
FILE_LINES, FUNCTION_LINES = 400, 50


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
