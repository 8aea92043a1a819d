"""Pages: what people see in the browser. Plain HTML; one script and two style sheets."""

import asyncio
import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlencode

from anyio.to_thread import run_sync
from jinja2 import PackageLoader
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from deepkd.languages import ENGLISH
from deepkd.report.card import model_doubt, model_limits
from deepkd.report.console import percent
from deepkd.report.html import make_badge, make_environment
from deepkd.scoring.thresholds import Label
from deepkd.serve.api import LONGEST_NOTE, LONGEST_WHO, PAGE, Api
from deepkd.serve.clips import Choice, State, StoredClip
from deepkd.serve.desk import Desk, read_provenance
from deepkd.serve.guard import COOKIE, is_token, make_cookie
from deepkd.serve.media import detect_type
from deepkd.serve.uploads import read_small

WRONG_TOKEN_S = 1.0
"""How long the answer to a wrong token takes."""
COOKIE_S = 30 * 86_400
SPARK = (120, 28)
"""Width and height of a small time line, units of the drawing."""
STATIC = {
    "desk.css": ("deepkd.serve", "static/desk.css", "text/css"),
    "desk.js": ("deepkd.serve", "static/desk.js", "text/javascript"),
    "desk.svg": ("deepkd.serve", "static/desk.svg", "image/svg+xml"),
}
"""Name -> package, file in it, media type. No other file is served but clips."""


class Pages:
    """The routes, for one desk."""

    def __init__(self, desk: Desk, api: Api) -> None:
        self.desk, self.store, self.api = desk, desk.store, api
        self._templates = make_environment(ENGLISH, PackageLoader("deepkd.serve"))
        self._templates.filters.update(
            percent=percent,
            spark=draw_spark,
            size=format_size,
            moment=format_time,
            badge=lambda label: make_badge(Label(label)),
        )
        self._templates.globals.update(
            labels=[*Label], choices=[*Choice], has_token=bool(desk.config.token)
        )
        self._static = {
            name: (files(package).joinpath(file).read_bytes(), kind)
            for name, (package, file, kind) in STATIC.items()
        }
        style = self._templates.get_template("style.css").render(
            paper={"title": "deepkd", "file": "", "foot": ""}
        )
        self._static["report.css"] = (style.encode(), "text/css")

    def list_routes(self) -> list[Route]:
        """Path, handler and method."""
        return [
            Route("/", self.show_desk),
            Route("/rows", self.show_rows),
            Route("/clips/{id}", self.show_clip),
            Route("/clips/{id}/faces/{person:int}", self.show_face),
            Route("/login", self.ask_token),
            Route("/login", self.log_in, methods=["POST"]),
            Route("/static/{name}", self.send_static),
        ]

    def render(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page made from a template."""
        return HTMLResponse(self._templates.get_template(template).render(**values), status)

    def show_desk(self, request: Request) -> Response:
        """The list of clips, and where to drop more."""
        provenance = self.desk.provenance
        return self.render(
            "desk.html",
            **self._list_rows(request),
            model=provenance.model,
            doubt=model_doubt(provenance.metadata),
            limits=model_limits(provenance),
            max_clip=format_size(self.desk.max_clip),
        )

    def show_rows(self, request: Request) -> Response:
        """The list alone, for the script."""
        return self.render("rows.html", **self._list_rows(request))

    def _list_rows(self, request: Request) -> dict[str, Any]:
        clips = self.api.select(request, PAGE + 1)
        query = {key: request.query_params.get(key, "") for key in ("verdict", "decision")}
        older = ""
        if len(clips) > PAGE:
            older = "/?" + urlencode({**query, "after": clips[PAGE - 1].number})
        counts = self.store.count("verdict")
        return {
            "counts": [(make_badge(label), counts[label]) for label in Label if counts[label]],
            "rows": [(clip, self._describe_state(clip)) for clip in clips[:PAGE]],
            "filter": query,
            "is_filtered": any(query.values()) or "after" in request.query_params,
            "older": older,
        }

    def _describe_state(self, clip: StoredClip) -> dict[str, Any]:
        """How far a clip is, and a key that changes with what its row shows."""
        ahead = self.store.count_ahead(clip) if clip.state is State.QUEUED else 0
        decision = clip.decision.decision if clip.decision else ""
        return {
            "progress": self.store.read_progress(clip),
            "ahead": ahead,
            "key": f"{clip.state}-{clip.verdict}-{decision}-{ahead}",
        }

    def show_clip(self, request: Request) -> Response:
        """One clip with its evidence, and the form for the decision."""
        clip = self.api.find(request)
        evidence = self.store.read_evidence(clip.id) if clip.is_settled else None
        described = evidence.described if evidence else None
        provenance = read_provenance(self.store, clip.made_with)
        try:
            kind = detect_type(self.store.locate(clip))
        except OSError:
            kind = ""
        return self.render(
            "review.html",
            clip=clip, described=described, kind=kind, standing=self._describe_state(clip),
            model=provenance.model, doubt=model_doubt(provenance.metadata),
            longest_note=LONGEST_NOTE, longest_who=LONGEST_WHO,
            moments=find_moments(described["people"]) if described else [],
        )  # fmt: skip

    def show_face(self, request: Request) -> Response:
        """The picture of a person: the most suspicious face."""
        clip = self.api.find(request)
        evidence = self.store.read_evidence(clip.id)
        people = evidence.described["people"] if evidence else []
        number = request.path_params["person"]
        shown = [*people[number]["most"], *people[number]["least"]] if number < len(people) else []
        if not shown:
            raise HTTPException(404, "no picture of this person")
        return Response(base64.b64decode(shown[0]["data"]), media_type="image/jpeg")

    def ask_token(self, request: Request) -> Response:
        """The form that takes the token."""
        return self.render("login.html", is_wrong=False)

    async def log_in(self, request: Request) -> Response:
        """Give a visitor with the token the cookie."""
        body = (await read_small(request, self.desk, 4096)).decode("utf-8", "replace")
        given = parse_qs(body).get("token", [""])[0].strip()
        token = self.desk.config.token
        if not is_token(given, token):
            await asyncio.sleep(WRONG_TOKEN_S)
            return await run_sync(lambda: self.render("login.html", 403, is_wrong=True))
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            COOKIE, make_cookie(token or ""), max_age=COOKIE_S, httponly=True, samesite="strict",
            secure=request.url.scheme == "https",
        )  # fmt: skip
        return answer

    def send_static(self, request: Request) -> Response:
        """A style sheet or the script."""
        name = request.path_params["name"]
        if name not in self._static:
            raise HTTPException(404, "no such file")
        content, kind = self._static[name]
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    async def refuse(self, request: Request, error: Exception) -> Response:
        """The answer to what cannot be done: a page for people, JSON for programs."""
        assert isinstance(error, HTTPException)
        is_page = "text/html" in request.headers.get("accept", "")
        if is_page and not request.url.path.startswith("/api/"):
            values = {"code": error.status_code, "detail": error.detail}
            return await run_sync(lambda: self.render("message.html", error.status_code, **values))
        return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


def draw_spark(line: Sequence[tuple[float, float]]) -> str:
    """The points of a small time line."""
    width, height = SPARK
    return " ".join(f"{2 + (width - 4) * x:.1f},{2 + (height - 4) * (1 - y):.1f}" for x, y in line)


def find_moments(people: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The most suspicious moments of all people, in order of time, each once."""
    shown = {
        (face["t_s"], person["title"]): {**face, "person": person["title"]}
        for person in people
        for face in person["most"]
    }
    return [shown[key] for key in sorted(shown)]


def format_size(count: int) -> str:
    """Bytes as people say them: 272 KB, 1.4 GB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count / 1e3:.3g} KB"


def format_time(seconds: float) -> str:
    """Seconds since 1970 as date and time, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
