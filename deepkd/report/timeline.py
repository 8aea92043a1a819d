"""Timeline: the scores of one person over time as an SVG drawing."""

import html
from collections.abc import Iterator, Mapping

from deepkd.languages import ENGLISH, Language
from deepkd.report.console import percent
from deepkd.scoring.scores import FrameScore
from deepkd.scoring.verdict import TrackVerdict
from deepkd.scoring.wording import clock, count_frames, person_name

WIDTH, HEIGHT = 720, 174
LEFT, RIGHT, TOP, BOTTOM = 80, 12, 16, 30
"""Margins around the plot, units of the drawing."""
TICKS = 5


def timeline(
    track: TrackVerdict,
    duration_s: float,
    thresholds: Mapping[str, float],
    language: Language = ENGLISH,
) -> str:
    """The drawing: time across, probability of forgery upwards, what looks forged shaded.

    Colours come from the page (classes `band-fake`, `band-real`, `run`, `line`, `dot`, `weak`,
    `grid`); hollow dots are frames that do not count. A sentence says the same to those who do not
    see it. What can be looked up in the clip has its second as `data-t`.
    """
    span_s = max(duration_s, track.frames[-1].t_s) or 1.0
    parts = [
        (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
            f' aria-label="{html.escape(_in_words(track, language))}">'
        ),
        *(_bands(thresholds) if thresholds else ()),
        *_grid(span_s, language),
    ]
    if track.forged_s:
        start, end = (_x(t_s, span_s) for t_s in track.forged_s)
        kind = f'run" data-t="{track.forged_s[0]:.3f}'
        parts.append(_rect(kind, start - 4, TOP, end - start + 8, HEIGHT - TOP - BOTTOM))
    used = [frame for frame in track.frames if frame.flaw is None]
    points = " ".join(f"{_x(frame.t_s, span_s):.1f},{_y(frame.score):.1f}" for frame in used)
    parts.append(f'<polyline class="line" points="{points}"/>')
    parts += [_dot(frame, span_s, language) for frame in track.frames]
    return "\n".join([*parts, "</svg>"])


def _x(t_s: float, span_s: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * t_s / span_s


def _y(score: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - score)


def _rect(kind: str, x: float, y: float, width: float, height: float) -> str:
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
    )


def _bands(thresholds: Mapping[str, float]) -> Iterator[str]:
    fake_y, real_y, across = _y(thresholds["fake"]), _y(thresholds["real"]), WIDTH - LEFT - RIGHT
    yield _rect("band-fake", LEFT, TOP, across, fake_y - TOP)
    yield _rect("band-real", LEFT, real_y, across, HEIGHT - BOTTOM - real_y)


def _grid(span_s: float, language: Language) -> Iterator[str]:
    for score in (0.0, 0.5, 1.0):
        y = _y(score)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        share = language.number(score, ".0%")
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{share}</text>'
    for tick in range(TICKS):
        t_s = span_s * tick / (TICKS - 1)
        anchor = "start" if tick == 0 else "end" if tick == TICKS - 1 else "middle"
        yield (
            f'<text x="{_x(t_s, span_s):.1f}" y="{HEIGHT - 8}"'
            f' text-anchor="{anchor}">{clock(t_s, language)}</text>'
        )


def _dot(frame: FrameScore, span_s: float, language: Language) -> str:
    kind = "weak" if frame.flaw else "dot"
    about = f"{clock(frame.t_s, language)}: {percent(frame.score, language)}" + (
        f", {language.repeat(frame.flaw)}" if frame.flaw else ""
    )
    center = f'cx="{_x(frame.t_s, span_s):.1f}" cy="{_y(frame.score):.1f}"'
    center += f' data-t="{frame.t_s:.3f}"'
    return f'<circle class="{kind}" {center} r="4"><title>{html.escape(about)}</title></circle>'


def _in_words(track: TrackVerdict, language: Language) -> str:
    scores = [frame.score for frame in track.frames]
    return language.say(
        "Probability of forgery of {person} in {frames} from {start} to {end}: between {low} and"
        " {high}; {reason}",
        person=person_name(track.person, language),
        frames=count_frames(len(scores), language),
        start=clock(track.frames[0].t_s, language),
        end=clock(track.frames[-1].t_s, language),
        low=percent(min(scores), language),
        high=percent(max(scores), language),
        reason=track.explain(language),
    )
