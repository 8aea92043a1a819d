"""The settings of every command. Light on purpose: `--help` reads it and nothing heavier."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from deepkd.config import Config, setting
from deepkd.errors import ConfigError

DEVICES = ("auto", "cpu", "cuda")
RUNTIMES = ("onnxruntime", "openvino")
LAYOUTS = ("auto", "faceforensics", "celeb-df", "dfdc", "folder")
EVERY_S, MOST_FRAMES = 0.8, 1500
"""How `detect` samples long clips: a frame at least every so many seconds, up to so many frames (20 minutes)."""


@dataclass(frozen=True)
class ExtractConfig(Config):
    """`deepkd extract`: clips to face crops."""

    command: ClassVar[str] = "extract"

    dataset: str = setting("auto", "Layout of the source folders.", choices=LAYOUTS)
    frames: int = setting(32, "Frames sampled from each clip, evenly in time.", low=1)
    face_px: int = setting(224, "Side of the crops written, pixels.", low=32, high=1024)
    crop_rule: str | None = setting(
        None,
        "How the square around a face is framed; dfdc unless --margin is given.",
        choices=("dfdc", "tight", "margin"),
    )
    margin: float | None = setting(
        None, "Frame a centred square of (1 + this) times the longer side of the face's box.", low=0, high=4
    )
    detector: str = setting("mtcnn", "Face detector.", choices=("mtcnn", "mtcnn-torch"))
    device: str = setting("auto", "Where a PyTorch face detector runs.", choices=DEVICES)
    min_face_px: int = setting(40, "Smallest face looked for, pixels of the shrunk frame.", low=12)
    max_side_px: int = setting(640, "Frames are shrunk to this longer side to look for faces, pixels.", low=64)
    min_probability: float = setting(0.0, "Faces that the detector is less sure of are dropped.", low=0, high=1)
    sure_probability: float = setting(
        0.97,
        "People never found with this probability are dropped where a surer one is in the picture; 0 keeps all.",
        low=0,
        high=1,
    )
    faces_per_frame: int = setting(4, "People kept in a frame at most, the largest first.", low=1)
    people: str = setting("all", "Keep all people of a clip, or only the largest.", choices=("all", "largest"))
    image_format: str = setting("jpeg", "Format of the crops.", choices=("jpeg", "png"))
    jpeg_quality: int = setting(95, "Quality of JPEG crops.", low=1, high=100)
    val_share: float = setting(0.1, "Share of the originals that go to val, where none is shipped.", low=0, high=1)
    test_share: float = setting(0.1, "Share of the originals that go to test, where none is shipped.", low=0, high=1)
    split_by: str = setting(
        "auto",
        "What no split may share: originals, or also the people in them; auto: people, where splits remain.",
        choices=("auto", "identity", "original"),
    )
    workers: int | None = setting(None, "Processes; by default one for each core, 0 for none but this one.", low=0)

    def check(self) -> None:
        """Refuse two rules at once, and shares that leave nothing to train on."""
        if self.margin is not None and self.crop_rule is not None:
            raise ConfigError(f"--margin {self.margin:g} and --crop-rule {self.crop_rule} contradict; give one of them")
        if self.val_share + self.test_share >= 1:
            raise ConfigError("--val-share and --test-share leave nothing for training; their sum must be below 1")


@dataclass(frozen=True)
class ForgeConfig(Config):
    """`deepkd forge`: real faces to labelled forgeries."""

    command: ClassVar[str] = "forge"

    kind: str = setting("crops", "What to write: crops with an index, or clips.", choices=("crops", "clips"))
    method: str = setting(
        "self-blend",
        "A face blended with a changed copy of itself, or with the face of another source.",
        choices=("self-blend", "face-swap"),
    )
    count: int = setting(1, "Forgeries made of each crop or clip.", low=1)
    dataset: str = setting("auto", "Layout of the source folders; what they call FAKE is left out.", choices=LAYOUTS)
    frames: int = setting(8, "Frames sampled from each source for crops, evenly in time.", low=1)
    face_px: int = setting(224, "Side of the crops written, pixels.", low=32, high=1024)
    crop_rule: str = setting("dfdc", "How the square around a face is framed.", choices=("dfdc", "tight", "margin"))
    seconds: float = setting(5.0, "Longest clip written, seconds; a still is filmed for as long.", low=0.1)
    val_share: float = setting(0.1, "Share of the sources that go to val.", low=0, high=1)
    test_share: float = setting(0.1, "Share of the sources that go to test.", low=0, high=1)
    seed: int = setting(0, "Seed of everything that is drawn.", low=0)
    detector: str = setting("mtcnn", "Face detector.", choices=("mtcnn", "mtcnn-torch"))
    device: str = setting("auto", "Where a PyTorch face detector runs.", choices=DEVICES)

    def check(self) -> None:
        """Refuse shares that leave nothing to train on."""
        if self.val_share + self.test_share >= 1:
            raise ConfigError("--val-share and --test-share leave nothing for training; their sum must be below 1")


@dataclass(frozen=True)
class DetectConfig(Config):
    """`deepkd detect`: clips to verdicts."""

    command: ClassVar[str] = "detect"

    model: str = setting("deepkd-nano", "A shipped model by its name, or an ONNX file by its path.")
    runtime: str = setting(
        "onnxruntime", "What computes the model; openvino takes the extra deepkd[openvino].", choices=RUNTIMES
    )
    frames: int = setting(16, "Frames sampled from each clip at least, evenly in time.", low=1)
    every_s: float | None = setting(
        None,
        f"Seconds between two sampled frames at most, so that a short forgery in a long clip is seen; 0 for no such "
        f"limit. By default {EVERY_S}, and more where that gave over {MOST_FRAMES} frames.",
        low=0,
    )
    single_look: bool = setting(False, "Do not look closer where single frames look forged.")
    min_frames: int = setting(3, "Frames that must show a person well before a verdict; a still is one.", low=1)
    rule: str = setting("mean-logit", "How frame scores become a verdict.", choices=("mean-logit", "upstream"))
    threshold_fake: float | None = setting(
        None, "Probability from which a person counts as FAKE; by default the model's own.", low=0, high=1
    )
    threshold_real: float | None = setting(
        None, "Probability up to which a person counts as REAL; by default the model's own.", low=0, high=1
    )
    detector: str = setting("mtcnn", "Face detector.", choices=("mtcnn", "mtcnn-torch"))
    device: str = setting("auto", "Where a PyTorch face detector runs.", choices=DEVICES)
    workers: int = setting(0, "Processes that judge clips side by side; 0 for none but this one.", low=0)
    timeout_s: float = setting(600.0, "Seconds that one input may take before it is an ERROR; 0 for no limit.", low=0)
    format: str = setting("table", "What to print.", choices=("table", "json", "jsonl", "csv", "html"))

    def samples(self, duration_s: float) -> int:
        """How many frames to sample of a clip so long, seconds."""
        every_s = EVERY_S if self.every_s is None else self.every_s
        count = math.ceil(duration_s / every_s) if every_s else 0
        return max(self.frames, count if self.every_s else min(count, MOST_FRAMES))

    def check(self) -> None:
        """Refuse thresholds that cross."""
        real, fake = self.threshold_real, self.threshold_fake
        if real is not None and fake is not None and real > fake:
            raise ConfigError(
                f"--threshold-real {real} is above --threshold-fake {fake}; a probability between them would be both"
            )


@dataclass(frozen=True)
class EvaluateConfig(Config):
    """`deepkd evaluate`: models on labelled crops or videos."""

    command: ClassVar[str] = "evaluate"

    data: Path | None = setting(
        None,
        "Folder of crops with its index.csv, of pictures in SPLIT/CLASS/, or of videos: a data set, folders real and "
        "fake, a list (CSV).",
    )
    dataset: str = setting(
        "auto",
        "Layout of a folder of videos; any but auto takes pictures without an index for stills, as detect would.",
        choices=LAYOUTS,
    )
    split: str = setting("test", "Split to evaluate on, as the index or data set has it; `all` takes everything.")
    limit: int | None = setting(None, "Evaluate on about so many crops or videos, whole families.", low=1)
    frames: int = setting(16, "Frames sampled from each video at least, evenly in time.", low=1)
    perturb: str | None = setting(
        None, "Measure robustness too, on damaged crops or videos: `all`, or NAME or NAME:LEVEL, parted by commas."
    )
    allow_training_data: bool = setting(False, "Evaluate even on what a model was trained on; the report says so.")
    threshold: float | None = setting(
        None,
        "Probability from which a crop or video counts as FAKE; by default each model's own.",
        low=0,
        high=1,
    )
    prevalence: float = setting(
        0.01, "Share of forgeries among what a user meets, which the precision supposes.", low=0, high=1
    )
    batch: int = setting(64, "Crops decoded and scored together.", low=1)
    resamples: int = setting(1000, "Bootstrap resamples behind the 95% intervals; 0 leaves them out.", low=0)
    features_limit: int = setting(1000, "Crops at most, drawn at random, whose features --features draws.", low=5)
    seed: int = setting(0, "Seed of the resampling, and of what --features draws.", low=0)
    device: str = setting("auto", "Where PyTorch models run.", choices=DEVICES)
    format: str = setting("table", "What to print.", choices=("table", "json", "csv"))


@dataclass(frozen=True)
class BenchmarkConfig(Config):
    """`deepkd benchmark`: size and speed of a teacher and a student, in turn."""

    command: ClassVar[str] = "benchmark"

    teacher: str | None = setting(
        None, "The large model. Without any model named it is cross-efficient-vit, untrained, for its size and speed."
    )
    student: str | None = setting(None, "The small model. Without any model named it is the shipped deepkd-nano.")
    runs: int = setting(50, "Timed runs of each model, in turn.", low=3)
    batch: int = setting(32, "Crops per call when throughput is measured.", low=1)
    threads: int | None = setting(None, "CPU threads of every runtime; by default all cores.", low=1)
    runtime: str = setting(
        "onnxruntime", "What computes ONNX files; openvino takes the extra deepkd[openvino].", choices=RUNTIMES
    )
    data: Path | None = setting(None, "Folder of labelled crops to measure AUC on.")
    split: str = setting("test", "Split of the index that AUC is measured on; `all` takes every row.")
    limit: int | None = setting(None, "Measure AUC on about so many crops, whole families.", low=1)
    video: Path | None = setting(None, "Clip to time from decoding to verdict, with each model.")
    video_runs: int = setting(3, "Timed runs of the clip with each model, in turn.", low=1)
    frames: int = setting(16, "Frames sampled from the clip.", low=1)
    format: str = setting("table", "What to print.", choices=("table", "json", "csv"))


@dataclass(frozen=True)
class FittingConfig(Config):
    """What everything that fits weights takes."""

    epochs: int = setting(10, "Passes over the drawn samples.", low=1)
    batch: int = setting(32, "Crops per optimiser step, over all processes.", low=2)
    accumulate: int = setting(1, "Parts that a batch is computed in, to save memory.", low=1)
    lr: float = setting(5e-4, "Peak learning rate of AdamW.", low=0)
    weight_decay: float = setting(0.05, "Weight decay of AdamW; norms and biases have none.", low=0)
    warmup: float = setting(
        0.1, "Share of the steps that the learning rate rises for, before its cosine.", low=0, high=1
    )
    sampling: str = setting("paired", "How batches are drawn.", choices=("paired", "balanced", "shuffled"))
    augment: str = setting(
        "standard",
        "How far views stray from the crops; robust draws from what `evaluate --perturb` measures, too.",
        choices=("none", "light", "moderate", "standard", "robust"),
    )
    self_blend: float = setting(
        0.0, "Share of the pairs whose forgery is made from the real crop itself (self-blended images).", low=0, high=1
    )
    label_smoothing: float = setting(0.01, "Share of each hard label given to the other one.", low=0, high=0.5)
    ema: float = setting(
        0.999, "Decay of the averaged weights that are validated and kept; 0 turns it off.", low=0, high=1
    )
    patience: int = setting(0, "Stop after so many epochs without a better validation AUC; 0 never stops early.", low=0)
    limit: int | None = setting(None, "Train on about so many crops, whole families.", low=2)
    val_limit: int | None = setting(None, "Validate on about so many crops, whole families.", low=2)
    seed: int = setting(0, "Seed of everything that is drawn.", low=0)
    device: str = setting("auto", "Where to train.", choices=DEVICES)
    precision: str = setting(
        "auto", "Arithmetic: auto is bf16 autocast on a GPU and float32 on a CPU.", choices=("auto", "float32", "bf16")
    )
    compile: bool = setting(
        False, "Compile the model with torch.compile: a minute or two at the start, faster steps, same results."
    )
    workers: int = setting(2, "Processes that read and augment crops.", low=0)
    checkpoint_every: int = setting(200, "Steps between checkpoints that --resume continues from.", low=1)

    def check(self) -> None:
        """A batch must split evenly."""
        if self.batch % (2 * self.accumulate) and self.sampling != "shuffled":
            raise ConfigError(
                f"batch={self.batch}: takes a multiple of 2 x accumulate ({2 * self.accumulate}), to hold pairs"
            )
        if self.self_blend and self.sampling != "paired":
            raise ConfigError(f"self_blend={self.self_blend} needs sampling=paired, not {self.sampling}")


@dataclass(frozen=True)
class TrainingConfig(FittingConfig):
    """What every training takes that chooses its network."""

    image_size: int | None = setting(None, "Side of the model's input, pixels; the registry's unless given.", low=32)
    init: Path | None = setting(None, "Checkpoint to start from; its classifier may differ.")


@dataclass(frozen=True)
class TrainConfig(TrainingConfig):
    """`deepkd train`: a model on labelled crops."""

    command: ClassVar[str] = "train"

    model: str = setting("cross-efficient-vit", "Model to train: a name of the registry or of timm.")
    subclasses: str = setting(
        "none",
        "Give the model an output for each forgery method that the index names, as a teacher for subclass_kd needs.",
        choices=("none", "method"),
    )

    def check(self) -> None:
        """A forgery made from the real crop itself is of no method of the index."""
        super().check()
        if self.self_blend and self.subclasses != "none":
            raise ConfigError(f"self_blend={self.self_blend} and subclasses={self.subclasses} exclude each other")


@dataclass(frozen=True)
class DistillConfig(TrainingConfig):
    """`deepkd distill`: a student from a teacher. What training takes, and what the teacher adds."""

    command: ClassVar[str] = "distill"

    student: str = setting("nano", "Student to train: a name of the registry or of timm.")
    loss: str = setting(
        "kd", "Loss between the student's and the teacher's logits.", choices=("kd", "logit_mse", "subclass_kd")
    )
    temperature: float = setting(3.0, "Temperature of the soft term.", low=0.01)
    alpha: float = setting(0.7, "Weight of the soft term; the hard labels get the rest.", low=0, high=1)
    hint: float = setting(0.0, "Weight of the feature hint between --hint-student and --hint-teacher.", low=0)
    hint_student: str = setting(
        "conv_head:output", "Module of the student, with :input or :output, that takes the hint."
    )
    hint_teacher: str = setting(
        "conv_head:output", "Module of the teacher, with :input or :output, that gives the hint."
    )
    teacher_noise: float = setting(
        0.0, "Spread of the noise that teacher logits are multiplied with; 0 for none.", low=0
    )
    noise_share: float = setting(0.5, "Share of the samples that the teacher's noise falls on.", low=0, high=1)
    sample_weight: str = setting(
        "none", "What weighs a sample's soft terms.", choices=("none", "teacher_confidence", "face_probability")
    )
    teacher_view: str = setting(
        "same",
        "What the teacher sees: the student's view, or that view clean, before photometric augmentation.",
        choices=("same", "clean"),
    )
    mixup: float = setting(0.0, "Blend samples, with shares drawn from Beta(this, this); 0 for none.", low=0)
    labelled_share: float = setting(
        1.0, "Share of the families that keep their labels; the rest takes the soft terms only.", low=0, high=1
    )
    losses: tuple[Any, ...] = setting((), "Terms to minimise, in place of loss, alpha and hint.", table="loss")
    taps: dict[str, Any] | None = setting(None, "Name = [student module, teacher module] to compare.", table="taps")
    alone: bool = setting(False, "Also train the student without the teacher on the same schedule, to compare.")

    def check(self) -> None:
        """Batches drawn by label have no place for samples without one."""
        super().check()
        if self.labelled_share < 1 and self.sampling != "shuffled":
            raise ConfigError(f"labelled_share={self.labelled_share} needs sampling=shuffled, not {self.sampling}")
        if self.mixup and self.teacher_view == "clean":
            raise ConfigError("mixup and teacher_view=clean exclude each other: a blend has no clean view")


@dataclass(frozen=True)
class PruneConfig(FittingConfig):
    """`deepkd prune`: a smaller network out of a trained one."""

    command: ClassVar[str] = "prune"

    params: int | None = setting(None, "Parameters that the pruned network may have at most.", low=1)
    macs_m: float | None = setting(
        None, "Million multiply-accumulates of one crop that it may have at most.", low=0.001
    )
    latency_ms: float | None = setting(
        None, "Milliseconds that one crop may take at most here, in ONNX Runtime on all cores.", low=0.001
    )
    criterion: str = setting(
        "taylor", "What a channel is worth.", choices=("taylor", "magnitude", "bn-scale", "random")
    )
    penalty: float = setting(0.0, "Taken off a channel's worth for each million multiply-accumulates it costs.", low=0)
    samples: int = setting(512, "Labelled crops of the split train that show what channels are worth.", low=2)
    steps: int = setting(1, "Steps in which the network shrinks, each the same share, fine-tuned after each.", low=1)
    epochs: int = setting(0, "Epochs of distillation after each step; 0 only prunes.", low=0)
    teacher_view: str = setting(
        "same", "What the teachers see: the pruned network's view, or that view clean.", choices=("same", "clean")
    )

    def check(self) -> None:
        """Something must be reached, and steps in between are worth nothing without fine-tuning."""
        super().check()
        if self.params is None and self.macs_m is None and self.latency_ms is None:
            raise ConfigError("nothing to reach; give --params, --macs-m, --latency-ms or several")
        if self.steps > 1 and not self.epochs:
            raise ConfigError(f"steps={self.steps} without fine-tuning is the same as one; give --epochs")


@dataclass(frozen=True)
class QuantizeConfig(Config):
    """`deepkd quantize`: a model in cheaper arithmetic, measured against float32."""

    command: ClassVar[str] = "quantize"

    keep: str = setting(
        "auto",
        "Variant to write: auto is the fastest that may replace float32, or none; a name writes it whatever it costs.",
        choices=("auto", "int8", "fp16", "weights"),
    )
    max_drop: float = setting(0.002, "AUC that a variant may lose against float32.", low=0, high=1)
    int8: str = setting(
        "auto",
        "How int8 is made; auto tries all ways and takes the one whose logits stay closest to float32's.",
        choices=("auto", "plain", "reduced-range", "percentile", "entropy", "float-ends", "float-sensitive"),
    )
    calibrate_on: str = setting("train", "Split whose crops show the ranges of int8.", choices=("train", "val"))
    samples: int = setting(128, "Crops that show the ranges, as many real as forged.", low=2)
    split: str = setting("val", "Split that AUC is measured on; `all` takes every row.")
    limit: int | None = setting(None, "Measure AUC on about so many crops, whole families.", low=1)
    resamples: int = setting(1000, "Bootstrap resamples behind the interval of the AUC's change.", low=0)
    runs: int = setting(100, "Timed runs of each variant, in turn.", low=3)
    threads: int | None = setting(None, "Threads of the runtime; by default all cores.", low=1)
    seed: int = setting(0, "Seed of the draws.", low=0)
    format: str = setting("table", "What to print.", choices=("table", "json"))
