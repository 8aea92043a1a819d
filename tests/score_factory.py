"""Scores of a person's frames for tests of the rules."""

from deepkd.scoring.calibration import sigmoid
from deepkd.scoring.scores import FrameScore


def seen(*logits: float | None, flaw: str | None = None, every_s: float = 0.5) -> list[FrameScore]:
    """One person's frames with these logits; `None` stands for a logit of 9 on a face too small."""
    return [
        FrameScore(
            t_s=i * every_s,
            box=(1, 2, 30, 40),
            logit=9.0 if logit is None else logit,
            score=float(sigmoid(9.0 if logit is None else logit)),
            face_probability=0.99,
            flaw="too small" if logit is None else flaw,
        )
        for i, logit in enumerate(logits)
    ]
