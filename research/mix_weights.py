"""Mix the weights of two stages of one training, and calibrate the result.

    python research/mix_weights.py BEFORE AFTER --share 0.5 --data CROPS --out mixed.safetensors

After a training on something new a network has forgotten some of what it knew; weights on the line
between both keep most of either (weight-space ensembling: Wortsman et al. 2022, "Robust fine-tuning
of zero-shot models", arXiv:2109.01903). That holds for networks that one start joins, not for any
two of one architecture: `deepkd evaluate` says what the mixture is worth.
"""

import argparse
from pathlib import Path

import torch

from deepkd.data.crops import load_crops
from deepkd.data.families import list_inherited, training_record
from deepkd.errors import DeepKDError, UsageError
from deepkd.models.checkpoints import load_checkpoint, save_model
from deepkd.models.registry import TorchModel
from deepkd.training.validation import calibrate, check_validation


def mix(before: TorchModel, after: TorchModel, share: float) -> TorchModel:
    """`after` with the tensors `(1 - share) before + share after`.

    Raises:
        UsageError: they are not the same network with the same input format.
    """
    old, new = before.module.state_dict(), after.module.state_dict()
    shapes = [{name: tensor.shape for name, tensor in tensors.items()} for tensors in (old, new)]
    if before.architecture != after.architecture or shapes[0] != shapes[1]:
        raise UsageError(
            f"{before.name} and {after.name} are not the same network; take two stages of one"
            " training"
        )
    if before.format != after.format:
        raise UsageError(
            f"{before.name} and {after.name} see crops in different formats; take two of the"
            " same one"
        )
    with torch.no_grad():
        for name, tensor in new.items():
            if tensor.is_floating_point():
                tensor.lerp_(old[name], 1 - share)
    return after


def main() -> None:
    """Read the command line and write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="run folder or checkpoint")
    parser.add_argument(
        "after", type=Path, help="run folder or checkpoint of the same network, trained on from it"
    )
    parser.add_argument(
        "--share", type=float, default=0.5, help="of the one that was trained on, 0 to 1"
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="crops that both were trained on; val calibrates"
    )
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    args = parser.parse_args()
    try:
        if not 0 <= args.share <= 1:
            raise UsageError(f"--share {args.share}: takes 0 to 1")
        before, after = (load_checkpoint(path) for path in (args.before, args.after))
        train, val = (load_crops(args.data, split) for split in ("train", "val"))
        check_validation(val)
        model = mix(before, after, args.share)
        record = training_record(train, [list_inherited(before), list_inherited(after)])
        model.metadata["recipe"] = {
            **after.metadata.get("recipe", {}),
            **record,
            "share_of_weights": args.share,
        }
        calibrate(model, val)
        path = save_model(model, args.out)
    except DeepKDError as error:
        raise SystemExit(f"error: {error}") from error
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
