"""Cheaper arithmetic: the variant is still the model, and replaces float32 where it pays."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from crop_factory import write_crops
from model_factory import random_model

from deepkd.benchmark.latency import Timing, chance_ratio, measure_ratio
from deepkd.compression import quantize as quantisation
from deepkd.compression.graphs import round_weights, weighted_layers, weights_only
from deepkd.compression.int8 import Int8Method, float_layers, prepare, sensitivity, to_int8
from deepkd.compression.judging import Judgement
from deepkd.compression.quantize import VariantResult, quantize
from deepkd.evaluation.metrics import Measure, auc, auc_change
from deepkd.models.export import export_onnx
from deepkd.scoring.model import Scorer
from deepkd.settings.choices import CONVERSIONS, INT8_METHODS
from deepkd.settings.compression import QuantizeConfig

RANDOM = np.random.default_rng(0)
CROPS = [
    (np.full((64, 64, 3), color) + RANDOM.integers(-20, 20, (64, 64, 3))).astype(np.uint8)
    for color in RANDOM.integers(20, 236, (12, 3))
]
"""Noise on plain colours: a random network tells the colours apart."""
QUICK = QuantizeConfig(samples=4, runs=3, int8="plain", resamples=20, threads=1)
SAME = ("params", "macs", "format", "calibration", "thresholds")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = random_model("pico")
    model.metadata = {
        "calibration": {"temperature": 1.7, "bias": -0.2},
        "thresholds": {"real": 0.2, "fake": 0.9},
        "recipe": {"teacher": "large", "epochs": 3},
    }
    return export_onnx(model, tmp_path_factory.mktemp("float32") / "m.onnx")


def check(path: Path, source: Path, *, alike: float) -> None:
    """It has the metadata of its source and similar logits, which are its mean evidence."""
    before, after = Scorer.load(source, threads=1), Scorer.load(path, threads=1)
    assert all(getattr(after, name) == getattr(before, name) for name in SAME)
    assert after.metadata["recipe"] == before.metadata["recipe"]
    assert after.name == f"pico-{after.metadata['quantized']['variant']}"
    logits, places = after.evidence(CROPS)
    assert np.corrcoef(logits, before.logits(CROPS))[0, 1] > alike
    assert places.shape == before.evidence(CROPS)[1].shape
    assert np.corrcoef(places.mean((1, 2)), logits)[0, 1] > 0.99
    np.testing.assert_allclose(after.logits(CROPS[:1]), logits[:1], atol=0.05 * np.ptp(logits))
    assert after.bytes < before.bytes


@pytest.mark.parametrize("name", CONVERSIONS)
def test_a_conversion_is_still_the_model(name: str, source: Path, tmp_path: Path) -> None:
    CONVERSIONS.load(name)(source, tmp_path / "m.onnx")
    check(tmp_path / "m.onnx", source, alike=0.999)


@pytest.mark.parametrize("name", INT8_METHODS)
def test_int8_is_still_the_model(name: str, source: Path, tmp_path: Path) -> None:
    distances = to_int8(source, tmp_path / "m.onnx", CROPS, [name], threads=1)
    assert distances.keys() == {name} and distances[name] > 0
    check(tmp_path / "m.onnx", source, alike=0.9)
    assert Scorer.load(tmp_path / "m.onnx").metadata["quantized"] == {
        "variant": "int8",
        "recipe": name,
        "crops": 12,
    }
    check_arithmetic(tmp_path / "m.onnx")


def check_arithmetic(path: Path) -> None:
    """Convolutions take unsigned bytes and weights of signed ones, with a scale per channel."""
    graph = onnx.load(path).graph
    known = {tensor.name: tensor for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    quantised = [[makers.get(name) for name in node.input[:2]] for node in convolutions]
    quantised = [
        pair
        for pair in quantised
        if all(node and node.op_type == "DequantizeLinear" for node in pair)
    ]
    assert len(quantised) > len(convolutions) / 2
    for activation, weights in quantised:
        assert known[activation.input[2]].data_type == onnx.TensorProto.UINT8
        assert {known[weights.input[at]].data_type for at in (0, 2)} == {onnx.TensorProto.INT8}
        assert (
            known[weights.input[1]].dims
            == known[weights.input[2]].dims
            == known[weights.input[0]].dims[:1]
        )


def test_the_settings_offer_every_recipe() -> None:
    (field,) = (
        field for field in QuantizeConfig.__dataclass_fields__.values() if field.name == "int8"
    )
    assert field.metadata["choices"] == ("auto", *INT8_METHODS)


def test_the_closest_recipe_is_taken(source: Path, tmp_path: Path) -> None:
    distances = to_int8(source, tmp_path / "m.onnx", CROPS, ["plain", "reduced-range"], threads=1)
    made = Scorer.load(tmp_path / "m.onnx").metadata["quantized"]["recipe"]
    assert distances[made] == min(distances.values())


def test_a_recipe_whose_logits_overflow_is_not_taken(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distances = iter([float("nan"), 0.5])
    monkeypatch.setattr(
        "deepkd.compression.int8._distance", lambda logits, expected: next(distances)
    )
    to_int8(source, tmp_path / "m.onnx", CROPS, ["plain", "reduced-range"], threads=1)
    assert Scorer.load(tmp_path / "m.onnx").metadata["quantized"]["recipe"] == "reduced-range"


def test_sensitive_layers_and_ends_are_left_in_float(source: Path, tmp_path: Path) -> None:
    prepared = prepare(source, tmp_path)
    ends = float_layers(prepared, Int8Method(float_ends=True), CROPS)
    assert len(ends) == 2, "the first convolution, and the classifier, which gives the evidence"
    assert min(sensitivity(prepared, ends, CROPS).values()) > 0, "the logit hangs on both"
    more = float_layers(prepared, Int8Method(float_ends=True, float_sensitive=2), CROPS)
    assert set(ends) < set(more) and len(more) == 4


def test_sensitivity_keeps_to_its_threads(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []
    start = Scorer.__init__

    def noted(self: Scorer, *words, threads: int | None = None, **more) -> None:
        taken.append(threads)
        start(self, *words, threads=threads, **more)

    monkeypatch.setattr(Scorer, "__init__", noted)
    to_int8(source, tmp_path / "m.onnx", CROPS[:4], ["float-sensitive"], threads=1)
    assert len(taken) > 10 and set(taken) == {1}


def test_no_weight_moves_by_more_than_half_a_step(source: Path, tmp_path: Path) -> None:
    for node, tensor in weighted_layers(onnx.load(source)):
        weights = onnx.numpy_helper.to_array(tensor)
        whole, scale = round_weights(node, weights)
        assert scale.size == weights.shape[0] and np.abs(whole.astype(int)).max() == 127
        assert (np.abs(whole * scale - weights) <= 0.5001 * scale).all()
    weights_only(source, tmp_path / "m.onnx")
    kept = {
        name
        for node, _ in weighted_layers(onnx.load(tmp_path / "m.onnx"))
        for name in [node.input[1]]
    }
    assert len(kept) > 3, "depthwise convolutions"


def trial(
    change: float, low: float, high: float, *, twin: tuple[float, float] = (0.99, 1.0)
) -> VariantResult:
    ratio = Measure((low + high) / 2, low, high)
    judgement, spread = Judgement(0.9, Measure(change)), Measure(sum(twin) / 2, *twin)
    return VariantResult(None, judgement, "AUC", 1.0, ratio, spread)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "objections"),
    [
        (trial(-0.001, 0.5, 0.6), []),
        (trial(+0.01, 0.5, 0.98), []),
        (
            trial(-0.001, 0.9, 1.1),
            ["not faster here (1.00 [0.90, 1.10] of float32's time, float32's twin"],
        ),
        (
            trial(0.0, 0.92, 0.98, twin=(0.95, 1.02)),
            ["not faster here (0.95 [0.92, 0.98] of float32's time, float32"],
        ),
        (trial(0.0, 0.92, 0.98, twin=(1.01, 1.05)), ["not faster here"]),
        (trial(0.0, 0.92, 0.94, twin=(0.95, 1.05)), []),
        (trial(0.0, 0.98, 0.99, twin=(1.0, 1.0)), []),
        (trial(-0.0021, 0.5, 0.6), ["AUC falls by 0.0021, more than 0.002"]),
        (trial(-0.1, 2.0, 2.0), ["not faster", "AUC falls"]),
    ],
)
def test_objections(found: VariantResult, objections: list[str]) -> None:
    given = found.objections(0.002)
    assert len(given) == len(objections)
    assert all(text.startswith(start) for text, start in zip(given, objections, strict=True))


@pytest.mark.parametrize(
    ("twin", "share"),
    [
        ((1.0, 1.0), 1.0),
        ((0.9, 1.05), 0.9),
        ((0.98, 1.25), 0.8),
        ((1.1, 1.25), 0.8),
        ((0.8, 0.9), 0.8),
    ],
)
def test_a_slow_twin_says_as_much_of_chance_as_a_fast_one(
    twin: tuple[float, float], share: float
) -> None:
    assert chance_ratio(Measure(sum(twin) / 2, *twin)) == pytest.approx(share)


def test_a_copy_of_float32_is_not_faster(
    source: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The times are made up: each model of a turn is quicker than the last."""
    spent = {"float32": 1.0, "int8": 0.95, "fp16": 2.0, "weights": 0.97, "twin": 0.94}

    def turns(models: list[Scorer], *, runs: int, **_: object) -> list[Timing]:
        assert models[0].sha256 == models[-1].sha256 and models[0] is not models[-1]
        return [Timing(single=[seconds] * runs) for seconds in spent.values()]

    monkeypatch.setattr(quantisation, "take_turns", turns)
    document = quantize(
        str(source), data, tmp_path / "m.onnx", QUICK.replace(max_drop=1.0)
    ).to_dict()
    assert document["written"] is None and document["twin"] == {
        "latency_ms": 940,
        "latency_ratio": {"value": 0.94, "low": 0.94, "high": 0.94},
        "faster_below": 0.94,
    }
    spent["int8"] = 0.93
    found = quantize(str(source), data, tmp_path / "m.onnx", QUICK.replace(max_drop=1.0))
    assert found.written.variant == "int8"


def test_int8_weights_run_as_float32s_graph(source: Path, tmp_path: Path) -> None:
    weights_only(source, tmp_path / "weights.onnx")
    assert optimised(tmp_path / "weights.onnx", tmp_path) == optimised(source, tmp_path)


def optimised(path: Path, folder: Path) -> list[str]:
    """The operators that ONNX Runtime makes of a file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return sorted(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


def test_a_ratio_is_paired() -> None:
    drift = np.linspace(1, 3, 50)
    found = measure_ratio(0.5 * drift, drift)
    assert vars(found) == {"value": 0.5, "low": 0.5, "high": 0.5}


def test_the_change_of_auc_is_paired() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    before = rng.normal(labels, 1)
    sources = [str(index // 4) for index in range(200)]
    assert vars(auc_change(labels, before, 2 * before + 1, sources=sources)) == {
        "value": 0,
        "low": 0,
        "high": 0,
    }
    after = before + rng.normal(0, 0.3, 200)
    found = auc_change(labels, before, after, sources=sources, resamples=100)
    assert found.value == pytest.approx(auc(labels, after) - auc(labels, before))
    assert found.low < found.value < found.high and found.high - found.low < 0.1
    assert auc_change(np.ones(200), before, after, sources=sources) == Measure(None)
    alone = auc_change(labels, before, after, sources=["one"] * 200)
    assert alone == Measure(found.value), "one source has no interval"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_crops(tmp_path_factory.mktemp("data") / "crops", tint=40)
