"""The rule published with Cross Efficient ViT (Coccomini et al., arXiv:2107.02612)."""

import dataclasses

import numpy as np

from deepkd.scoring.calibration import sigmoid
from deepkd.scoring.rules import Code, Criteria, Decision, People, Reason, Rule, TrackDecision
from deepkd.scoring.thresholds import Label

MAX_PEOPLE, FIRST_OVER, FAKE_OVER = 3, 0.55, 0.6


def upstream(people: People, criteria: Criteria) -> Decision:
    """Decide as the published code does.

    At most 3 people count. A person's score is the mean of sigmoid(logit) over all frames; the
    first over 0.55 decides, else the mean of all; FAKE over 0.6. There is neither calibration nor
    thresholds, every face counts, and no clip is INCONCLUSIVE.
    """
    tracks = []
    for id, frames in list(people.items())[:MAX_PEOPLE]:
        counted = tuple(dataclasses.replace(frame, flaw=None) for frame in frames)
        score = float(np.mean(sigmoid(np.array([frame.logit for frame in frames]))))
        reason = Reason(Code.MEAN_SCORE, {"score": score})
        tracks.append(TrackDecision(id, counted, _label(score), score, reason))
    scores = [track.score or 0.0 for track in tracks]
    score = next((score for score in scores if score > FIRST_OVER), float(np.mean(scores)))
    return Decision(_label(score), score, Code.UPSTREAM, tuple(tracks), named=tuple(tracks))


def _label(score: float) -> Label:
    return Label.FAKE if score > FAKE_OVER else Label.REAL


UPSTREAM = Rule(upstream, has_own_thresholds=True)
