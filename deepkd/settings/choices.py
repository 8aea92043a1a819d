"""Choices: the variants that commands offer. A new variant is one file and one line here."""

from typing import TYPE_CHECKING

from deepkd.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np

    from deepkd.cluster.engine import Engine
    from deepkd.compression.importance import Criterion
    from deepkd.compression.int8 import Int8Method
    from deepkd.data.clips import Layout
    from deepkd.data.crops import CropSet
    from deepkd.data.sampling import Draw
    from deepkd.data.transforms import Augmentation
    from deepkd.distillation.losses.loss import Loss
    from deepkd.models.spec import ModelSpec
    from deepkd.report import ReportMaker
    from deepkd.scoring.rules import Rule
    from deepkd.scoring.runtimes import Runtime
    from deepkd.training.schedule import MakeOptimizer, Schedule
    from deepkd.video.faces import FaceDetector

DEVICES = ("auto", "cpu", "cuda")

LAYOUTS: "Registry[Layout]" = Registry(
    "dataset",
    {
        "faceforensics": "deepkd.data.datasets.faceforensics:FACEFORENSICS",
        "celeb-df": "deepkd.data.datasets.celeb_df:CELEB_DF",
        "dfdc": "deepkd.data.datasets.dfdc:DFDC",
        "folder": "deepkd.data.datasets.folders:FOLDER",
    },
)
"""Layouts of source folders, in the order in which `auto` tries them. `folder` fits every folder
and comes last."""

DETECTORS: "Registry[Callable[..., FaceDetector]]" = Registry(
    "detector",
    {
        "mtcnn": "deepkd.video.mtcnn:load",
        "mtcnn-torch": "deepkd.video.mtcnn_torch:load",
    },
)
"""Face detectors: the function that loads each one."""
RUNTIMES: "Registry[Callable[[bytes, int | None], Runtime]]" = Registry(
    "runtime",
    {
        "onnxruntime": "deepkd.scoring.runtimes:OnnxRuntime",
        "openvino": "deepkd.scoring.runtimes:OpenVino",
    },
)
"""Libraries that run an ONNX file; each is made from the file's bytes and a number of threads."""
RULES: "Registry[Rule]" = Registry(
    "rule",
    {
        "mean-logit": "deepkd.scoring.rules:MEAN_LOGIT",
        "upstream": "deepkd.scoring.upstream:UPSTREAM",
    },
)
"""How the scores of faces become a verdict."""
REPORTS: "Registry[ReportMaker]" = Registry(
    "format",
    {
        "table": "deepkd.report.console:console_report",
        "json": "deepkd.report.json:JsonReport",
        "jsonl": "deepkd.report.jsonl:JsonLinesReport",
        "csv": "deepkd.report.csv:CsvReport",
        "html": "deepkd.report.html:HtmlReport",
    },
)
"""Formats of verdicts, which are the suffixes of their files too: a class or function that makes
a `Report`."""
ENGINES: "Registry[type[Engine]]" = Registry("engine", {"ray": "deepkd.cluster.ray:RayEngine"})
"""What runs shards on many machines."""
MODELS: "Registry[ModelSpec]" = Registry(
    "model",
    {
        "cross-efficient-vit": "deepkd.models.cross_efficient_vit:CROSS_EFFICIENT_VIT",
        "efficient-vit": "deepkd.models.efficient_vit:EFFICIENT_VIT",
        "meso4": "deepkd.models.meso:MESO4",
        "pico": "deepkd.models.students:PICO",
        "nano": "deepkd.models.students:NANO",
        "lite": "deepkd.models.students:LITE",
        "wrn-16-1": "deepkd.models.wide_resnet:WRN_16_1",
        "wrn-16-3": "deepkd.models.wide_resnet:WRN_16_3",
        "mlp-800": "deepkd.models.perceptron:MLP_800",
        "mlp-1200": "deepkd.models.perceptron:MLP_1200",
        "mlp-1200-dropout": "deepkd.models.perceptron:MLP_1200_DROPOUT",
    },
)
"""Networks. Besides these, any classifier of timm is known by its timm name."""
LOSSES: "Registry[type[Loss]]" = Registry(
    "loss",
    {
        "bce": "deepkd.distillation.losses.bce:BCE",
        "ce": "deepkd.distillation.losses.ce:CE",
        "kd": "deepkd.distillation.losses.kd:KD",
        "logit_mse": "deepkd.distillation.losses.logit_mse:LogitMSE",
        "subclass_kd": "deepkd.distillation.losses.subclass_kd:SubclassKD",
        "attention_transfer": "deepkd.distillation.losses.attention_transfer:AttentionTransfer",
        "amd": "deepkd.distillation.losses.amd:AngularMargin",
        "similarity": "deepkd.distillation.losses.similarity:Similarity",
        "hint": "deepkd.distillation.losses.hint:Hint",
        "dkd": "deepkd.distillation.losses.dkd:DecoupledKD",
        "kd_standardized": "deepkd.distillation.losses.kd_standardized:StandardizedKD",
        "dist": "deepkd.distillation.losses.dist:Dist",
        "rkd_distance": "deepkd.distillation.losses.rkd:RelationalDistance",
        "rkd_angle": "deepkd.distillation.losses.rkd:RelationalAngle",
        "pkt": "deepkd.distillation.losses.pkt:ProbabilisticTransfer",
        "vid": "deepkd.distillation.losses.vid:VariationalInformation",
        "nst": "deepkd.distillation.losses.nst:NeuronSelectivity",
        "crd": "deepkd.distillation.losses.crd:Contrastive",
        "review_kd": "deepkd.distillation.losses.review_kd:ReviewKD",
        "afd": "deepkd.distillation.losses.afd:AttentionFeatures",
    },
)
"""Distillation losses, one published method each."""
SAMPLINGS: "Registry[Callable[[CropSet, np.random.Generator], Draw]]" = Registry(
    "sampling",
    {
        "paired": "deepkd.data.sampling:draw_paired",
        "balanced": "deepkd.data.sampling:draw_balanced",
        "shuffled": "deepkd.data.sampling:draw_shuffled",
    },
    traits={
        "paired": {"draws both labels", "makes forgeries"},
        "balanced": {"draws both labels"},
        "shuffled": {"draws unlabelled crops"},
    },
)
"""How the batches of an epoch are drawn."""
AUGMENTATIONS: "Registry[Augmentation]" = Registry(
    "augment",
    {
        "none": "deepkd.data.transforms:NONE",
        "shift": "deepkd.data.transforms:SHIFT",
        "shift-flip": "deepkd.data.transforms:SHIFT_FLIP",
        "light": "deepkd.data.transforms:LIGHT",
        "moderate": "deepkd.data.transforms:MODERATE",
        "standard": "deepkd.data.transforms:STANDARD",
        "footage": "deepkd.data.transforms:FOOTAGE",
        "robust": "deepkd.data.transforms:ROBUST",
    },
)
"""How much views may differ from their crops."""
OPTIMIZERS: "Registry[MakeOptimizer]" = Registry(
    "optimizer",
    {
        "adamw": "deepkd.training.schedule:adamw",
        "adam": "deepkd.training.schedule:adam",
        "sgd": "deepkd.training.schedule:sgd",
    },
)
"""What changes the weights at each step: a function that makes it."""
SCHEDULES: "Registry[Schedule]" = Registry(
    "schedule",
    {
        "cosine": "deepkd.training.schedule:warmup_cosine",
        "steps": "deepkd.training.schedule:fifths",
        "constant": "deepkd.training.schedule:constant",
    },
)
"""How the learning rate moves over a training."""
CRITERIA: "Registry[Criterion]" = Registry(
    "criterion",
    {
        "taylor": "deepkd.compression.importance:TAYLOR",
        "magnitude": "deepkd.compression.importance:MAGNITUDE",
        "bn-scale": "deepkd.compression.importance:BN_SCALE",
        "random": "deepkd.compression.importance:RANDOM",
    },
)
"""How the importance of a channel is measured before pruning."""
INT8_METHODS: "Registry[Int8Method]" = Registry(
    "int8",
    {
        "plain": "deepkd.compression.int8:PLAIN",
        "reduced-range": "deepkd.compression.int8:REDUCED_RANGE",
        "percentile": "deepkd.compression.int8:PERCENTILE",
        "entropy": "deepkd.compression.int8:ENTROPY",
        "float-ends": "deepkd.compression.int8:FLOAT_ENDS",
        "float-sensitive": "deepkd.compression.int8:FLOAT_SENSITIVE",
    },
)
"""Ways from float32 to int8."""
CONVERSIONS: "Registry[Callable[[Path, Path], None]]" = Registry(
    "variant",
    {
        "fp16": "deepkd.compression.graphs:half",
        "weights": "deepkd.compression.graphs:weights_only",
    },
)
"""Variants of a float32 file that need no crops: the function that writes each."""
