"""API: `/api/v1`, described by `openapi.json`, and what monitors ask for."""

import asyncio
import csv
import io
import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from deepkd import __version__
from deepkd.report.html import HtmlReport
from deepkd.report.json import SCHEMA
from deepkd.scoring.thresholds import Label
from deepkd.serve.clips import Choice, Decision, State, StoredClip, clean_name, find_suffix
from deepkd.serve.desk import Desk, read_provenance
from deepkd.serve.media import detect_type
from deepkd.serve.uploads import count_arriving, drain, read_small, receive, refuse_size
from deepkd.text import cell

LONGEST_WAIT_S = 60.0
PAGE, LARGEST_PAGE = 50, 200
"""Clips in one answer: by default, and at most."""
LONGEST_NOTE, LONGEST_WHO = 4000, 100
LABELS = {Choice.FORGED: "FAKE", Choice.AUTHENTIC: "REAL", Choice.UNCLEAR: ""}
"""Decision -> label in a list of clips."""
COLUMNS = ("path", "label", "name", "verdict", "decision", "who", "note", "decided")
REPORT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
)


class Api:
    """The routes, for one desk."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.store = desk, desk.store
        self.description = json.loads(
            files("deepkd.serve").joinpath("openapi.json").read_text(encoding="utf-8")
        )
        self.description["info"]["version"] = __version__

    def list_routes(self) -> list[Route]:
        """Path, handler and method."""
        clip = "/api/v1/clips/{id}"
        return [
            Route("/openapi.json", self.describe),
            Route("/api/v1/clips", self.upload, methods=["POST"]),
            Route("/api/v1/clips", self.list_clips),
            Route("/api/v1/decisions.csv", self.send_decisions),
            Route(clip, self.show),
            Route(clip, self.delete, methods=["DELETE"]),
            Route(f"{clip}/decision", self.decide, methods=["PUT"]),
            Route(f"{clip}/report.html", self.send_report),
            Route(f"{clip}/video", self.send_video),
            Route("/healthz", self.check_health),
            Route("/metrics", self.send_metrics),
        ]

    def find(self, request: Request) -> StoredClip:
        """The clip that a path names.

        Raises:
            HTTPException: 404 there is none.
        """
        return self.find_id(request.path_params["id"])

    def find_id(self, id: str) -> StoredClip:
        """The clip with this id.

        Raises:
            HTTPException: 404 there is none.
        """
        clip = self.store.get(id)
        if clip is None:
            raise HTTPException(404, "no such clip; it may have been removed")
        return clip

    def describe(self, request: Request) -> Response:
        """The OpenAPI file."""
        return JSONResponse(self.description)

    async def upload(self, request: Request) -> Response:
        """Take in a clip: 202 and its id, or 200 if its verdict is known."""
        try:
            with count_arriving(self.desk):
                await run_sync(self._admit, request)
                came = await receive(request, self.desk)
                clip = await run_sync(self._take_in, came.part, came.sha256, came.name)
        except HTTPException as refusal:
            if refusal.status_code != 408:
                await drain(request)
            raise
        self.desk.judging.wake()
        answer = await run_sync(self.to_json, clip)
        return JSONResponse(
            answer, 200 if clip.is_settled else 202,
            headers={"Location": f"/api/v1/clips/{clip.id}"},
        )  # fmt: skip

    def _admit(self, request: Request) -> None:
        """Refuse an upload, which counts as arriving, before it is read if it cannot be kept."""
        declared = request.headers.get("content-length", "0")
        size = int(declared) if declared.isdecimal() else 0
        if size > self.desk.max_clip + (1 << 16):
            raise refuse_size(self.desk)
        if self.desk.count_waiting() > self.desk.config.max_queue:
            seconds = self.desk.estimate_wait_s()
            raise HTTPException(
                429, f"the queue is full; try again in {seconds} s", {"Retry-After": str(seconds)}
            )
        if why := self.desk.check_room(size):
            raise HTTPException(507, why)

    def _take_in(self, part: Any, sha256: str, name: str) -> StoredClip:
        clean = clean_name(name)
        self.desk.counters.uploads += 1
        self.desk.counters.known += self.store.get(sha256) is not None
        suffix = find_suffix(clean)
        made_with = self.desk.made_with
        return self.store.add(part, sha256, name=clean, suffix=suffix, made_with=made_with)

    async def show(self, request: Request) -> Response:
        """One clip; with `wait` once it is settled, or after so many seconds."""
        wait_s = min(_read_number(request, "wait", 0.0), LONGEST_WAIT_S)
        deadline = time.monotonic() + wait_s
        with self.desk.judging.subscribe() as finished:
            while True:
                clip = await run_sync(self.find, request)
                left_s = deadline - time.monotonic()
                if clip.is_settled or left_s <= 0:
                    break
                try:
                    await asyncio.wait_for(finished.wait(), left_s)
                except TimeoutError:
                    continue
                finished.clear()
        return JSONResponse(await run_sync(self.to_json_in_full, clip))

    def list_clips(self, request: Request) -> Response:
        """Clips, the newest first, and the number from which to go on."""
        limit = int(min(_read_number(request, "limit", PAGE), LARGEST_PAGE))
        clips = self.select(request, limit + 1)
        more = clips[limit - 1].number if len(clips) > limit > 0 else None
        shown = [self.to_json(clip) for clip in clips[:limit]]
        return JSONResponse({"clips": shown, "next": more})

    def select(self, request: Request, limit: int) -> list[StoredClip]:
        """The clips that the query of a request asks for.

        Raises:
            HTTPException: 400 an unknown verdict, state or decision.
        """
        return self.store.select(
            verdict=_read_choice(request, "verdict", [*Label]),
            state=_read_choice(request, "state", [*State]),
            decision=_read_choice(request, "decision", [*Choice, "none"]),
            after=int(_read_number(request, "after", 0)),
            limit=limit,
        )

    def to_json(self, clip: StoredClip) -> dict[str, Any]:
        """A clip without its evidence."""
        decision = clip.decision
        return {
            "id": clip.id,
            "name": clip.name,
            "bytes": clip.bytes,
            "uploaded": _format_time(clip.uploaded),
            "state": clip.state,
            "progress": self.store.read_progress(clip),
            "ahead": self.store.count_ahead(clip) if clip.state is State.QUEUED else None,
            "verdict": clip.verdict or None,
            "score": None if clip.score is None else round(clip.score, 4),
            "reason": clip.reason or None,
            "judged": _format_time(clip.judged),
            "decision": decision
            and {
                "decision": decision.decision,
                "note": decision.note,
                "who": decision.who,
                "decided": _format_time(decision.decided),
            },
            "page": f"/clips/{clip.id}",
        }

    def to_json_in_full(self, clip: StoredClip) -> dict[str, Any]:
        """A clip with its entry of schema deepkd.detect/1."""
        evidence = self.store.read_evidence(clip.id) if clip.is_settled else None
        result = None
        if evidence:
            model = read_provenance(self.store, clip.made_with).to_dict()
            result = {"schema": SCHEMA, "model": model, **evidence.entry}
        return {**self.to_json(clip), "result": result}

    def delete(self, request: Request) -> Response:
        """Remove a clip."""
        if not self.store.delete(request.path_params["id"]):
            raise HTTPException(404, "no such clip; it may have been removed")
        return Response(status_code=204)

    async def decide(self, request: Request) -> Response:
        """Write down what a person decided."""
        await run_sync(self.find, request)
        decision = _parse_decision(await read_small(request, self.desk))
        if not await run_sync(self.store.decide, request.path_params["id"], decision):
            raise HTTPException(404, "no such clip; it may have been removed")
        clip = await run_sync(self.find, request)
        return JSONResponse(await run_sync(self.to_json, clip))

    def send_report(self, request: Request) -> Response:
        """The report that `deepkd detect --report` writes."""
        clip = self.find(request)
        evidence = self.store.read_evidence(clip.id) if clip.is_settled else None
        if evidence is None:
            raise HTTPException(409, "this clip is not judged yet; wait for its verdict")
        out = io.StringIO()
        page = HtmlReport(out, read_provenance(self.store, clip.made_with))
        page.add_described(evidence.described)
        page.close()
        headers = {"Content-Security-Policy": REPORT_POLICY}
        return Response(out.getvalue(), media_type="text/html", headers=headers)

    def send_video(self, request: Request) -> Response:
        """The clip itself, also in ranges."""
        clip = self.find(request)
        path = self.store.locate(clip)
        try:
            kind = detect_type(path)
        except OSError as error:
            raise HTTPException(404, "no such clip; it may have been removed") from error
        shown = "inline" if kind.startswith(("video/", "image/")) else "attachment"
        return FileResponse(
            path, media_type=kind, filename=f"{clip.id[:12]}{clip.suffix}",
            content_disposition_type=shown,
            headers={"Content-Security-Policy": "default-src 'none'; sandbox"},
        )  # fmt: skip

    def send_decisions(self, request: Request) -> Response:
        """The decided clips as a list for `deepkd evaluate` and `deepkd extract`."""
        return StreamingResponse(
            self._write_decisions(), media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="decisions.csv"'},
        )  # fmt: skip

    def _write_decisions(self) -> Iterator[str]:
        yield _csv_line(COLUMNS)
        for clip in self.store.list_decided():
            decision = clip.decision
            assert decision
            yield _csv_line(
                (
                    str(self.store.locate(clip)), LABELS[decision.decision], cell(clip.name),
                    clip.verdict, str(decision.decision), cell(decision.who), cell(decision.note),
                    _format_time(decision.decided) or "",
                )
            )  # fmt: skip

    def check_health(self, request: Request) -> Response:
        """200 if clips are being judged, else 503 and why not."""
        problem = self.desk.judging.problem
        return JSONResponse({"ok": not problem, "problem": problem}, 503 if problem else 200)

    def send_metrics(self, request: Request) -> Response:
        """Figures for Prometheus."""
        from deepkd.serve.metrics import write_metrics

        return Response(write_metrics(self.desk), media_type="text/plain; version=0.0.4")


def _csv_line(cells: tuple[str, ...]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()


def _format_time(seconds: float | None) -> str | None:
    """Seconds since 1970 as ISO 8601 in UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _read_number(request: Request, name: str, default: float) -> float:
    text = request.query_params.get(name)
    try:
        value = default if text is None else float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e15:
        raise HTTPException(400, f"{name}: takes a number of 0 or more")
    return value


def _read_choice(request: Request, name: str, known: Sequence[str]) -> str:
    value = request.query_params.get(name, "")
    if value and value not in known:
        raise HTTPException(400, f"unknown {name}; choose from {', '.join(map(str, known))}")
    return value


def _parse_decision(body: bytes) -> Decision:
    """The decision in a JSON body.

    Raises:
        HTTPException: 400 it is none.
    """
    try:
        values = json.loads(body)
        choice = Choice(values["decision"])
        note, who = values.get("note", ""), values.get("who", "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        known = ", ".join(Choice)
        raise HTTPException(
            400, f'send {{"decision": ..., "note": ..., "who": ...}}; decision is one of {known}'
        ) from error
    for key, value, longest in (("note", note, LONGEST_NOTE), ("who", who, LONGEST_WHO)):
        if not isinstance(value, str) or len(value) > longest:
            raise HTTPException(400, f"{key}: takes a text of at most {longest} characters")
    note, who = (text.encode("utf-8", "replace").decode() for text in (note, who))
    return Decision(choice, note, who, time.time())
