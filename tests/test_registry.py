"""Registries: names without imports, and every name leads to something."""

import json
import subprocess
import sys

import pytest

from deepkd.errors import ConfigError
from deepkd.registry import Registry
from deepkd.settings import choices

REGISTRIES = {name: value for name, value in vars(choices).items() if isinstance(value, Registry)}
SHAPES = Registry(
    "shape", {"json": "json:dumps", "path": "pathlib:Path", "gone": "no_such_module:x"}
)


def test_names_stay_in_order() -> None:
    assert SHAPES.names == tuple(SHAPES) == ("json", "path", "gone")
    assert len(SHAPES) == 3 and "json" in SHAPES and "xml" not in SHAPES


def test_a_name_loads_what_it_stands_for() -> None:
    assert SHAPES.load("json") is json.dumps
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        SHAPES.load("gone")


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"^unknown shape 'xml'; choose from json, path, gone$"):
        SHAPES.load("xml")


@pytest.mark.parametrize(
    ("registry", "name"), [(key, name) for key, value in REGISTRIES.items() for name in value]
)
def test_every_choice_exists(registry: str, name: str) -> None:
    if name == "mtcnn-torch":
        pytest.importorskip("facenet_pytorch")
    assert REGISTRIES[registry].load(name)


def test_the_choices_of_commands_import_none_of_them() -> None:
    code = (
        "import sys, deepkd.settings.detect, deepkd.settings.data, deepkd.settings.evaluation,"
        " deepkd.settings.training, deepkd.settings.compression;"
        " print(sorted({'numpy', 'cv2', 'torch', 'onnxruntime'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_choice_of_a_command_comes_from_here() -> None:
    assert REGISTRIES.keys() == {
        "DETECTORS", "LAYOUTS", "RUNTIMES", "RULES", "REPORTS", "MODELS", "LOSSES", "SAMPLINGS",
        "AUGMENTATIONS", "CRITERIA", "INT8_METHODS", "CONVERSIONS", "ENGINES",
    }  # fmt: skip


def test_settings_ask_for_a_trait_of_a_variant_not_for_its_name() -> None:
    kinds = Registry("kind", {"one": "a:b", "two": "a:c"}, traits={"two": {"is large"}})
    assert kinds.having("is large") == ("two",) and kinds.having("is small") == ()
