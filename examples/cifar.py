"""Distillation with ten classes: CIFAR-10, WideResNet 16-3 into WideResNet 16-1.

    python examples/cifar.py --data FOLDER [--method amd] [--config examples/cifar10-wrn.toml]
    python examples/cifar.py --synthetic --epochs 1

FOLDER holds `cifar-10-batches-py` as torchvision knows it; nothing is downloaded. The full
schedule, 200 epochs of the teacher and of each student, wants a GPU. `--synthetic` takes coloured
noise, to see in seconds that it all runs. The losses are those of `deepkd.distillation.losses`; the
loop is its own, as `deepkd train` knows two classes and AdamW only.
"""

import argparse
import tomllib
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.datasets import CIFAR10

from deepkd.settings.choices import LOSSES

CONFIG = Path(__file__).with_name("cifar10-wrn.toml")
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
CLASSES, PAD = 10, 4


@dataclass(frozen=True)
class Settings:
    """What `cifar10-wrn.toml` sets; see there."""

    teacher: tuple[int, int]
    student: tuple[int, int]
    epochs: int
    batch: int
    lr: float
    lr_drops: tuple[int, ...]
    lr_factor: float
    momentum: float
    weight_decay: float
    hard: float
    soft: float
    temperature: float
    amd: tuple[float, ...]
    local: float

    @classmethod
    def read(cls, path: Path) -> "Settings":
        """From a TOML file that has them all and nothing else."""
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        wrong = {item.name for item in fields(cls)} ^ values.keys()
        if wrong:
            raise SystemExit(f"{path}: settings missing or unknown: {', '.join(sorted(wrong))}")
        return cls(
            **{
                name: tuple(value) if isinstance(value, list) else value
                for name, value in values.items()
            }
        )


class Block(nn.Module):
    """The pre-activation block of Zagoruyko & Komodakis 2016, fig. 1a: two 3 x 3 convolutions."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(channels_in), nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        same = channels_in == channels and stride == 1
        self.shortcut = None if same else nn.Conv2d(channels_in, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, H, W) -> (N, channels, H / stride, W / stride)."""
        y = F.relu(self.bn1(x))
        short = x if self.shortcut is None else self.shortcut(y)
        return short + self.conv2(F.relu(self.bn2(self.conv1(y))))


class WideResNet(nn.Module):
    """WideResNet for 32 x 32 images (Zagoruyko & Komodakis 2016, table 1), of depth 6 n + 4."""

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        channels = [16, 16 * width, 32 * width, 64 * width]
        self.stem = nn.Conv2d(3, channels[0], 3, 1, 1, bias=False)
        self.groups = nn.ModuleList()
        for group, (before, after) in enumerate(pairwise(channels)):
            blocks = [
                Block(after if i else before, after, 2 if group and not i else 1)
                for i in range((depth - 4) // 6)
            ]
            self.groups.append(nn.Sequential(*blocks))
        self.bn = nn.BatchNorm2d(channels[-1])
        self.head = nn.Linear(channels[-1], CLASSES)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 3, 32, 32), normalised -> logits (N, 10) and the maps of the three groups."""
        x, maps = self.stem(image), []
        for group in self.groups:
            x = group(x)
            maps.append(x)
        return self.head(F.relu(self.bn(x)).mean((2, 3))), maps


@dataclass(frozen=True)
class Pictures:
    """Images (N, 3, 32, 32), uint8, and labels (N,) of training and test."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


def cifar(folder: Path) -> Pictures:
    """CIFAR-10 from a local folder."""
    try:
        parts = [CIFAR10(folder, train=train, download=False) for train in (True, False)]
    except RuntimeError as error:
        raise SystemExit(
            f"{folder}: no cifar-10-batches-py here ({error}); give --data its folder"
        ) from error
    images = [torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous() for part in parts]
    labels = [torch.tensor(part.targets) for part in parts]
    return Pictures(images[0], labels[0], images[1], labels[1])


def synthetic(train: int = 128, test: int = 64) -> Pictures:
    """Noise around a colour for each of the ten classes."""
    generator = torch.Generator().manual_seed(0)
    colours = torch.randint(40, 216, (CLASSES, 3, 1, 1), generator=generator)
    labels = torch.arange(train + test) % CLASSES
    noise = torch.randint(-40, 40, (train + test, 3, 32, 32), generator=generator)
    images = (colours[labels] + noise).to(torch.uint8)
    return Pictures(images[:train], labels[:train], images[train:], labels[train:])


def normalised(images: Tensor) -> Tensor:
    """(N, 3, 32, 32) uint8 -> float, normalised by the statistics of the training images."""
    mean, std = (
        torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (MEAN, STD)
    )
    return (images.float() / 255 - mean) / std


def augmented(images: Tensor) -> Tensor:
    """Each image shifted by up to four pixels, and mirrored half the time; uint8."""
    padded = F.pad(images, (PAD,) * 4)
    count, _, height, width = images.shape
    down, right = (
        torch.randint(2 * PAD + 1, (count, 1, 1), device=images.device) for _ in range(2)
    )
    rows = down + torch.arange(height, device=images.device).view(1, -1, 1)
    columns = right + torch.arange(width, device=images.device).view(1, 1, -1)
    mirrored = torch.rand(count, 1, 1, device=images.device) < 0.5
    which = torch.arange(count, device=images.device).view(-1, 1, 1)
    columns = torch.where(mirrored, columns.flip(-1), columns)
    return padded.permute(0, 2, 3, 1)[which, rows, columns].permute(0, 3, 1, 2)


def loss_of(
    method: str,
    settings: Settings,
    student: WideResNet,
    teacher: WideResNet | None,
    x: Tensor,
    y: Tensor,
) -> Tensor:
    """`l1 CE + l2 KD + gamma AMD` of a batch, as far as the method goes; without a teacher CE."""
    logits, maps = student(x)
    hard = F.cross_entropy(logits, y)
    if teacher is None:
        return hard
    with torch.no_grad():
        wanted, shown = teacher(x)
    kd = LOSSES.load("kd")(temperature=settings.temperature)
    soft = kd(logits, wanted, labels=y, weight=None)
    loss = settings.hard * hard + settings.soft * soft
    if method == "amd":
        amd = LOSSES.load("amd")(local=settings.local)
        for gamma, mine, its in zip(settings.amd, maps, shown, strict=True):
            loss = loss + gamma * amd(mine, its, labels=y, weight=None)
    return loss


def trained(
    net: WideResNet,
    data: Pictures,
    settings: Settings,
    method: str,
    teacher: WideResNet | None = None,
) -> WideResNet:
    """`net` after the schedule of SGD, with a line per epoch."""
    sgd = torch.optim.SGD(
        net.parameters(), settings.lr, settings.momentum, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.MultiStepLR(
        sgd, list(settings.lr_drops), settings.lr_factor
    )
    for epoch in range(settings.epochs):
        net.train()
        for rows in torch.randperm(len(data.train), device=data.train.device).split(settings.batch):
            sgd.zero_grad()
            views, labels = normalised(augmented(data.train[rows])), data.train_labels[rows]
            loss = loss_of(method, settings, net, teacher, views, labels)
            loss.backward()
            sgd.step()
        schedule.step()
        print(
            f"  {method} epoch {epoch + 1}: loss {loss.item():.4f}, test accuracy"
            f" {accuracy(net, data):.2f} %"
        )
    return net.eval()


@torch.inference_mode()
def accuracy(net: WideResNet, data: Pictures) -> float:
    """Share of the test images named right, per cent."""
    net.eval()
    parts = zip(data.test.split(500), data.test_labels.split(500), strict=True)
    right = sum(
        int((net(normalised(images))[0].argmax(1) == labels).sum()) for images, labels in parts
    )
    return 100 * right / len(data.test)


def main() -> None:
    """Train the teacher and the chosen students, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="folder that holds cifar-10-batches-py")
    source.add_argument("--synthetic", action="store_true", help="coloured noise instead")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument(
        "--method", choices=("alone", "kd", "amd"), help="one method; all by default"
    )
    parser.add_argument("--epochs", type=int, help="fewer than the settings say")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    settings = Settings.read(args.config)
    settings = replace(settings, epochs=args.epochs or settings.epochs)
    data = cifar(args.data) if args.data else synthetic()
    data = Pictures(*(getattr(data, item.name).to(args.device) for item in fields(data)))
    torch.manual_seed(args.seed)
    teacher = trained(WideResNet(*settings.teacher).to(args.device), data, settings, "teacher")
    found = {"teacher": teacher}
    for method in [args.method] if args.method else ["alone", "kd", "amd"]:
        torch.manual_seed(args.seed)
        student = WideResNet(*settings.student).to(args.device)
        found[method] = trained(
            student, data, settings, method, None if method == "alone" else teacher
        )
    print(
        f"\n| {'synthetic' if args.synthetic else 'CIFAR-10'} | parameters | test accuracy, %"
        " |\n|---|---:|---:|"
    )
    for name, net in found.items():
        print(
            f"| {name} | {sum(p.numel() for p in net.parameters()):,} | {accuracy(net, data):.2f} |"
        )


if __name__ == "__main__":
    main()
