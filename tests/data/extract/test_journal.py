"""The journal of an extraction: what is finished, and what tells one clip from another."""

import os
from pathlib import Path

from deepkd.data.extract.journal import CropEntry, Journal, Record
from deepkd.journal import content_key


def test_a_record_that_was_not_finished_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    entry = CropEntry("0000_0.jpg", 0.5, 80.0, 0, 0.99, (1.0,) * 10)
    with Journal(path) as journal:
        journal.add(Record("k1", "one", 3, (entry,), warnings=("odd",)))
        journal.add(Record("k2", "two", 3, (), "no face"))
    path.write_bytes(path.read_bytes()[:-5])
    with Journal(path) as journal:
        assert "k1" in journal and "k2" not in journal
        assert journal.read("k1") == Record("k1", "one", 3, (entry,), warnings=("odd",))
        journal.add(Record("k3", "one", 2))
        assert "k1" not in journal, "its folder belongs to another clip now"
    with Journal(path) as journal:
        assert [key for key in ("k1", "k2", "k3") if key in journal] == ["k3"]
        assert journal.read("k3").frames == 2


def test_content_keys_tell_clips_apart(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"1" * 300_000)
    b.write_bytes(b"1" * 299_999 + b"2")
    assert content_key(a, "x") == content_key(a, "x") != content_key(b, "x")
    assert content_key(a, "x") != content_key(a, "y")
    os.mkfifo(tmp_path / "pipe")
    assert (
        content_key(tmp_path / "pipe", "x")
        == content_key(tmp_path, "x")
        == content_key(tmp_path / "no", "x")
        == ""
    )
