"""The layout: imports point downward, never in a circle; `detect` never reaches torch."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "deepkd"

LAYERS = (
    {"deepkd.cli", "deepkd.__main__"},
    {"deepkd.serve", "deepkd.cluster"},
    {"deepkd.report", "deepkd.tables"},
    {
        "deepkd.pipeline",
        "deepkd.parallel",
        "deepkd.runs",
        "deepkd.doctor",
        "deepkd.training",
        "deepkd.distillation",
        "deepkd.compression",
        "deepkd.evaluation",
        "deepkd.benchmark",
    },
    {"deepkd.data", "deepkd.models"},
    {"deepkd.scoring"},
    {"deepkd.video"},
    {"deepkd.origin"},
    {
        "deepkd.config",
        "deepkd.documents",
        "deepkd.settings",
        "deepkd.registry",
        "deepkd.environment",
        "deepkd.errors",
        "deepkd.images",
        "deepkd.imports",
        "deepkd.journal",
        "deepkd.languages",
        "deepkd.machine",
        "deepkd.offline",
        "deepkd.shards",
        "deepkd.shipped",
        "deepkd.stores",
        "deepkd.outputs",
        "deepkd.pool",
        "deepkd.timing",
        "deepkd.text",
        "deepkd",
    },
)
"""From top to bottom; a module may import from its own layer and from those below.

Within a layer no two packages import each other, directly or not: compression uses benchmark
(latency), and benchmark uses evaluation (AUC).
"""

HEAVY = {
    "torch",
    "torchvision",
    "timm",
    "efficientnet_pytorch",
    "facenet_pytorch",
    "sklearn",
    "safetensors",
}
TORCH_FREE = (
    "deepkd.languages",
    "deepkd.video",
    "deepkd.origin",
    "deepkd.scoring",
    "deepkd.pipeline",
    "deepkd.parallel",
    "deepkd.report",
    "deepkd.tables",
    "deepkd.serve",
    "deepkd.cluster",
    "deepkd.cli.collect",
    "deepkd.cli.detect",
    "deepkd.cli.serve",
    "deepkd.cli.app",
    "deepkd.cli.start",
)
BEHIND_A_NAME = {"deepkd.video.mtcnn_torch"}
"""Modules that are only ever imported by their name in a registry, when somebody asks for them."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def imports(module: str) -> frozenset[str]:
    """Every module that `module` imports, lazily or not; those under TYPE_CHECKING are left out."""
    tree = ast.parse(MODULES[module].read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{module}: relative import"
            found |= {
                (
                    f"{node.module}.{alias.name}"
                    if f"{node.module}.{alias.name}" in MODULES
                    else node.module
                )
                for alias in node.names
            }
    return frozenset(found)


def layer(module: str) -> int:
    """Position of a module's layer, 0 at the top."""
    for level, names in enumerate(LAYERS):
        if any(
            module == name or (name != "deepkd" and module.startswith(name + ".")) for name in names
        ):
            return level
    pytest.fail(f"{module} belongs to no layer; give it one in LAYERS")


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downward(module: str) -> None:
    upward = [name for name in imports(module) if name in MODULES and layer(name) < layer(module)]
    assert not upward, f"{module} imports from above: {upward}"


def test_no_circles() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, "a circle: " + " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for name in sorted(imports(module) & MODULES.keys()):
                visit(name, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())
    assert done == MODULES.keys()


def package(module: str) -> str:
    """The package of a module: `deepkd.data` for `deepkd.data.clips`, or a module of its own."""
    return ".".join(module.split(".")[:2])


PACKAGES = sorted({package(module) for module in MODULES} - {"deepkd"})


def package_imports(name: str) -> set[str]:
    """The other packages that modules of a package import, lazily or not."""
    found = {package(to) for m in MODULES if package(m) == name for to in imports(m) & set(MODULES)}
    return found - {name, "deepkd"}


def reachable(name: str) -> set[str]:
    """Every package that a package imports, in however many steps."""
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        new = package_imports(waiting.pop()) - reached
        reached |= new
        waiting += new
    return reached


@pytest.mark.parametrize("name", PACKAGES)
def test_no_two_packages_import_each_other(name: str) -> None:
    back = sorted(other for other in reachable(name) if name in reachable(other))
    assert not back, f"{name} imports, in one step or several, what imports it: {back}"


@pytest.mark.parametrize(
    "start", [m for m in MODULES if m.startswith(TORCH_FREE) and m not in BEHIND_A_NAME]
)
def test_the_analysts_path_never_reaches_torch(start: str) -> None:
    reached: dict[str, tuple[str, ...]] = {}
    waiting: list[tuple[str, ...]] = [(start,)]
    while waiting:
        path = waiting.pop()
        for name in imports(path[-1]):
            assert name.split(".")[0] not in HEAVY, " -> ".join((*path, name))
            if name in MODULES and name not in reached:
                reached[name] = path
                waiting.append((*path, name))
    assert start in MODULES


def test_modules_behind_a_name_are_imported_nowhere() -> None:
    importers = [m for m in MODULES for name in imports(m) if name in BEHIND_A_NAME]
    assert not importers
    assert MODULES.keys() >= BEHIND_A_NAME


def test_files_and_functions_stay_small() -> None:
    for module, path in MODULES.items():
        text = path.read_text()
        assert text.count("\n") <= 400, f"{module} has {text.count(chr(10))} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                assert length <= 50, f"{module}.{node.name} has {length} lines"
