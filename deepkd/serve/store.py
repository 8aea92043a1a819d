"""Store: a folder with the clips, and one SQLite file with the queue, results and decisions.

    clips/<sha256><suffix>   whole clips
    incoming/                uploads that are not complete; removed at each start
    progress/<sha256>        how far the judging of a clip is
    desk.sqlite              the rest (write-ahead log, every commit reaches the disk)

A clip is in the store once its row is committed. A file without a row is left over from a kill and
removed at the next start.
"""

import json
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from deepkd.errors import OutputError
from deepkd.outputs import check_folder
from deepkd.serve.clips import Choice, Decision, Evidence, Person, Result, State, StoredClip

VERSION = 1
ATTEMPTS = 5
"""How often a clip is begun again after the server ended while it was judged."""
SCHEMA = """
CREATE TABLE clips (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, name TEXT NOT NULL,
  suffix TEXT NOT NULL, bytes INTEGER NOT NULL, uploaded REAL NOT NULL, state TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0, made_with TEXT NOT NULL, verdict TEXT NOT NULL DEFAULT '',
  score REAL, reason TEXT NOT NULL DEFAULT '', people TEXT NOT NULL DEFAULT '[]', judged REAL);
CREATE INDEX clips_by_state ON clips (state, number);
CREATE TABLE evidence (
  id TEXT PRIMARY KEY REFERENCES clips (id) ON DELETE CASCADE, entry TEXT NOT NULL,
  described TEXT NOT NULL);
CREATE TABLE decisions (
  id TEXT PRIMARY KEY REFERENCES clips (id) ON DELETE CASCADE, decision TEXT NOT NULL,
  note TEXT NOT NULL, who TEXT NOT NULL, decided REAL NOT NULL);
CREATE TABLE models (made_with TEXT PRIMARY KEY, provenance TEXT NOT NULL);
"""
CLIP = """
SELECT clips.*, decision, note, who, decided FROM clips LEFT JOIN decisions USING (id)
"""


class Store:
    """The clips, their results and decisions; usable from threads."""

    def __init__(self, folder: Path) -> None:
        """Open a store, or make one. The caller keeps other servers out of it.

        Raises:
            OutputError: it cannot be written to, or is of a newer deepkd.
        """
        self.folder = folder.absolute()
        for name in ("clips", "incoming", "progress"):
            check_folder(self.folder / name)
        self._lock = threading.RLock()
        try:
            self._open(self.folder / "desk.sqlite")
        except sqlite3.Error as error:
            raise OutputError(
                f"{self.folder / 'desk.sqlite'}: cannot be used ({error}); choose another --store"
            ) from error
        self._clean()

    def _open(self, file: Path) -> None:
        self._db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self._db.execute(f"PRAGMA {pragma}")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise OutputError(f"{file}: was made by a newer deepkd; update this one")
        if version < VERSION:
            self._db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")

    def _clean(self) -> None:
        """Remove what a kill left over, and queue again what was being judged."""
        known = {f"{row['id']}{row['suffix']}" for row in self._db.execute("SELECT * FROM clips")}
        for file in (self.folder / "clips").iterdir():
            if file.name not in known:
                file.unlink()
        for name in ("incoming", "progress"):
            for file in (self.folder / name).iterdir():
                file.unlink()
        with self._change() as db:
            db.execute(
                "UPDATE clips SET state = 'queued', attempts = attempts + 1 WHERE state = 'judging'"
            )

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction, alone."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def queue_again(self) -> None:
        """Queue again what is being judged, without counting it as an attempt."""
        with self._change() as db:
            db.execute("UPDATE clips SET state = 'queued' WHERE state = 'judging'")

    def close(self) -> None:
        """Queue again what is being judged, and close the file."""
        self.queue_again()
        with self._lock:
            self._db.close()

    def locate(self, clip: StoredClip) -> Path:
        """The file of a clip."""
        return self.folder / "clips" / f"{clip.id}{clip.suffix}"

    def locate_progress(self, id: str) -> Path:
        """The file in which a worker notes how far it is."""
        return self.folder / "progress" / id

    def read_progress(self, clip: StoredClip) -> float | None:
        """Share of a clip that has been looked at, 0 to 1; None unless it is being judged."""
        if clip.state is not State.JUDGING:
            return None
        with suppress(OSError, ValueError):
            return min(1.0, float(self.locate_progress(clip.id).read_text(encoding="ascii")))
        return 0.0

    def add(self, part: Path, id: str, *, name: str, suffix: str, made_with: str) -> StoredClip:
        """Take in a complete upload, and queue it unless its verdict is known.

        Args:
            part: the file; it is moved into the store or removed.
            id: SHA-256 of its content.
            name: to show.
            suffix: of a video or image, or "".
            made_with: key of the model and settings that will judge it; a verdict of others does
                not count as known.
        """
        with self._lock:
            known = self.get(id)
            if known is None:
                size = part.stat().st_size
                os.replace(part, self.folder / "clips" / f"{id}{suffix}")
                with self._change() as db:
                    db.execute(
                        "INSERT INTO clips (id, name, suffix, bytes, uploaded, state, made_with)"
                        " VALUES (?, ?, ?, ?, ?, 'queued', ?)",
                        (id, name, suffix, size, time.time(), made_with),
                    )
            else:
                part.unlink(missing_ok=True)
                if known.is_settled and known.made_with != made_with:
                    self._queue_again(id, made_with)
            clip = self.get(id)
            assert clip
            return clip

    def _queue_again(self, id: str, made_with: str) -> None:
        with self._change() as db:
            db.execute("DELETE FROM evidence WHERE id = ?", (id,))
            db.execute(
                "UPDATE clips SET state = 'queued', attempts = 0, made_with = ?, verdict = '',"
                " score = NULL, reason = '', people = '[]', judged = NULL WHERE id = ?",
                (made_with, id),
            )

    def take(self, made_with: str) -> StoredClip | None:
        """The clip that has waited longest, which is now being judged; None if none waits."""
        with self._change() as db:
            row = db.execute(
                "UPDATE clips SET state = 'judging', made_with = ? WHERE number ="
                " (SELECT min(number) FROM clips WHERE state = 'queued') RETURNING id",
                (made_with,),
            ).fetchone()
        return self.get(row["id"]) if row else None

    def finish(self, id: str, result: Result) -> bool:
        """Keep the result of a clip that is being judged; False if it is not, or was removed."""
        state = State.FAILED if result.verdict == "ERROR" else State.DONE
        people = json.dumps([person.to_dict() for person in result.people])
        with self._change() as db:
            changed = db.execute(
                "UPDATE clips SET state = ?, verdict = ?, score = ?, reason = ?, people = ?,"
                " judged = ? WHERE id = ? AND state = 'judging'",
                (state, result.verdict, result.score, result.reason, people, time.time(), id),
            ).rowcount
            if changed:
                evidence = result.evidence
                described = json.dumps(evidence.described)
                db.execute(
                    "INSERT INTO evidence VALUES (?, ?, ?)",
                    (id, json.dumps(evidence.entry), described),
                )
        self.locate_progress(id).unlink(missing_ok=True)
        return bool(changed)

    def get(self, id: str) -> StoredClip | None:
        """One clip, or None."""
        return next(map(_clip, self._rows(f"{CLIP} WHERE id = ?", id)), None)

    def read_evidence(self, id: str) -> Evidence | None:
        """The evidence of a judged clip, or None."""
        rows = self._rows("SELECT * FROM evidence WHERE id = ?", id)
        return next(
            (Evidence(json.loads(row["entry"]), json.loads(row["described"])) for row in rows), None
        )

    def select(
        self, *, verdict: str = "", state: str = "", decision: str = "", after: int = 0, limit: int
    ) -> list[StoredClip]:
        """Clips, the newest first.

        Args:
            verdict: only clips with this verdict.
            state: only clips in this state.
            decision: only clips with this decision; "none" for those without.
            after: only clips with a smaller number.
            limit: at most so many.
        """
        wanted = {
            "verdict = ?": verdict,
            "state = ?": state,
            "coalesce(decision, 'none') = ?": decision,
            "number < ?": after,
        }
        given = {test: value for test, value in wanted.items() if value}
        where = f"WHERE {' AND '.join(given)}" if given else ""
        query = f"{CLIP} {where} ORDER BY number DESC LIMIT ?"
        return [_clip(row) for row in self._rows(query, *given.values(), limit)]

    def count_ahead(self, clip: StoredClip) -> int:
        """How many clips are judged before this one."""
        query = "SELECT count(*) FROM clips WHERE state = 'queued' AND number < ?"
        return int(self._rows(query, clip.number)[0][0])

    def decide(self, id: str, decision: Decision) -> bool:
        """Write down a decision; False if there is no such clip."""
        values = (id, decision.decision, decision.note, decision.who, decision.decided)
        with self._change() as db:
            if not db.execute("SELECT 1 FROM clips WHERE id = ?", (id,)).fetchone():
                return False
            db.execute("INSERT OR REPLACE INTO decisions VALUES (?, ?, ?, ?, ?)", values)
        return True

    def delete(self, id: str) -> bool:
        """Remove a clip and all that is known of it; False if there is no such clip."""
        with self._lock:
            clip = self.get(id)
            if clip is None:
                return False
            with self._change() as db:
                db.execute("DELETE FROM clips WHERE id = ?", (id,))
            self.locate(clip).unlink(missing_ok=True)
            self.locate_progress(id).unlink(missing_ok=True)
        return True

    def expire(self, before: float) -> int:
        """Remove judged clips without a decision that came before a time, seconds since 1970."""
        rows = self._rows(
            "SELECT id FROM clips LEFT JOIN decisions USING (id) WHERE decision IS NULL"
            " AND state IN ('done', 'failed') AND max(uploaded, coalesce(judged, 0)) < ?",
            before,
        )
        return sum(self.delete(row["id"]) for row in rows)

    def list_decided(self) -> Iterator[StoredClip]:
        """Every clip with a decision, in the order of upload."""
        rows = self._rows(f"{CLIP} WHERE decision IS NOT NULL ORDER BY number")
        return map(_clip, rows)

    def count(self, column: str = "state") -> Counter[str]:
        """Clips by `state` or `verdict`."""
        assert column in {"state", "verdict"}
        rows = self._rows(f"SELECT {column}, count(*) FROM clips GROUP BY 1")
        return Counter({row[0]: row[1] for row in rows})

    def measure_size(self) -> int:
        """Bytes of the clips and the database."""
        (row,) = self._rows("SELECT coalesce(sum(bytes), 0) FROM clips")
        files = (self.folder / f"desk.sqlite{end}" for end in ("", "-wal"))
        return int(row[0]) + sum(file.stat().st_size for file in files if file.exists())

    def keep_model(self, made_with: str, provenance: Mapping[str, object]) -> None:
        """Remember what a key of model and settings stands for."""
        with self._change() as db:
            values = (made_with, json.dumps(provenance))
            db.execute("INSERT OR REPLACE INTO models VALUES (?, ?)", values)

    def read_model(self, made_with: str) -> dict[str, Any]:
        """The fields of `Provenance` that a key stands for."""
        rows = self._rows("SELECT provenance FROM models WHERE made_with = ?", made_with)
        return dict(json.loads(rows[0]["provenance"]))


def _clip(row: sqlite3.Row) -> StoredClip:
    values = dict(row)
    decided = {key: values.pop(key) for key in ("decision", "note", "who", "decided")}
    people = tuple(Person(**person) for person in json.loads(values.pop("people")))
    decision = None
    if decided["decision"]:
        decision = Decision(**{**decided, "decision": Choice(decided["decision"])})
    state = State(values.pop("state"))
    return StoredClip(**values, state=state, people=people, decision=decision)
