"""A worker of an extraction: one clip at a time to frames, faces, people and crops on disk."""

import multiprocessing
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from deepkd.data.clips import Clip
from deepkd.data.extract.journal import CropEntry, Record
from deepkd.data.index import CropRow
from deepkd.errors import InputError
from deepkd.journal import make_disk_error
from deepkd.settings.data import ExtractConfig
from deepkd.timing import time_limit
from deepkd.video.copies import fetch_copy
from deepkd.video.crops import CROP_RULES, Crop, CropRule, crop_face
from deepkd.video.faces import Face, load_detector
from deepkd.video.frames import Frame, read_frames
from deepkd.video.tracks import Tracker

CROPS_DIR, PARTS_DIR = "crops", ".parts"
SUFFIXES = {"jpeg": ".jpg", "png": ".png"}
DARK = 16
"""Mean brightness (0 to 255) below which a picture is called dark."""


@dataclass(frozen=True)
class Task:
    """One clip to extract."""

    video: str
    path: Path
    key: str
    folder: str


@dataclass
class _Observations:
    """What the frames of a clip looked like; it explains why no face was found."""

    frames: int = 0
    size: tuple[int, int] = (0, 0)
    """Width and height, pixels."""
    brightness: list[float] = field(default_factory=list)
    doubtful: int = 0
    """Faces dropped because their probability is too low."""

    def add(self, frame: Frame) -> None:
        """Add one frame."""
        self.frames += 1
        self.size = (frame.image.shape[1], frame.image.shape[0])
        self.brightness.append(float(frame.image[::8, ::8].mean()))


def choose_crop_rule(config: ExtractConfig) -> CropRule:
    """The crop rule of the settings: by margin or by name, else `dfdc`."""
    if config.margin is not None:
        return CropRule(f"margin-{config.margin:g}", reference="longer", scale=1 + config.margin)
    return CROP_RULES[config.crop_rule or "dfdc"]


class ClipExtractor:
    """Writes the crops of a clip, all or none."""

    def __init__(self, config: ExtractConfig, out: Path, decode_threads: int) -> None:
        """Load the detector. It and OpenCV get one thread each, since there are several workers.

        Raises:
            ConfigError, ModelError: it cannot be loaded.
        """
        if multiprocessing.parent_process():
            cv2.setNumThreads(1)
        self.config, self.out, self.decode_threads = config, out, decode_threads
        self.rule = choose_crop_rule(config)
        self.detector = load_detector(
            config.detector,
            device=config.device,
            min_face_px=config.min_face_px,
            max_side_px=config.max_side_px,
            threads=1,
        )

    def __call__(self, task: Task) -> Record:
        """Extract one clip and return its record; that of an unreadable clip has an error.

        Raises:
            OutputError: the crops cannot be written.
        """
        part = self.out / PARTS_DIR / task.folder
        warnings: list[str] = []
        seen = _Observations()
        try:
            with (
                fetch_copy(task.path, self.config.timeout_s) as path,
                time_limit(path, self.config.timeout_s),
            ):
                entries = self._write_crops(path, part, seen, warnings)
        except InputError as error:
            shutil.rmtree(part, ignore_errors=True)
            return Record(task.key, task.folder, error=str(error))
        self._publish(part, self.out / CROPS_DIR / task.folder, empty=not entries)
        reason = "" if entries else self._explain_no_face(seen)
        return Record(
            task.key, task.folder, seen.frames, tuple(entries), reason, warnings=tuple(warnings)
        )

    def _write_crops(
        self, path: Path, part: Path, seen: _Observations, warnings: list[str]
    ) -> list[CropEntry]:
        shutil.rmtree(part, ignore_errors=True)
        tracker = Tracker()
        entries: list[CropEntry] = []
        for frame in read_frames(
            path, frames=self.config.frames, threads=self.decode_threads, warn=warnings.append
        ):
            seen.add(frame)
            faces = self._find_faces(frame, seen)
            for face, track in zip(
                faces, tracker.update(frame.t_s, faces, frame.image), strict=True
            ):
                entries.append(self._write_crop(frame, face, track, part))
        kept = select_people(entries, self.config)
        for entry in entries:
            if entry.track not in kept:
                (part / entry.name).unlink()
        return [entry for entry in entries if entry.track in kept]

    def _find_faces(self, frame: Frame, seen: _Observations) -> list[Face]:
        found = self.detector.detect(frame.image)
        sure = [face for face in found if face.probability >= self.config.min_probability]
        seen.doubtful += len(found) - len(sure)
        return sure[: self.config.faces_per_frame]

    def _write_crop(self, frame: Frame, face: Face, track: int, part: Path) -> CropEntry:
        crop = crop_face(frame, face, face_px=self.config.face_px, rule=self.rule)
        name = f"{frame.index:04d}_{track}{SUFFIXES[self.config.image_format]}"
        try:
            part.mkdir(parents=True, exist_ok=True)
            (part / name).write_bytes(self._encode(crop))
        except OSError as error:
            raise make_disk_error(part / name, error) from error
        points = tuple(round(float(value), 1) for value in crop.landmarks.ravel())
        return CropEntry(
            name,
            round(crop.t_s, 3),
            round(crop.source_px, 1),
            track,
            round(face.probability, 4),
            points,
        )

    def _encode(self, crop: Crop) -> bytes:
        options = (
            [cv2.IMWRITE_JPEG_QUALITY, self.config.jpeg_quality]
            if self.config.image_format == "jpeg"
            else []
        )
        picture = np.ascontiguousarray(crop.image[..., ::-1])
        return cv2.imencode(SUFFIXES[self.config.image_format], picture, options)[1].tobytes()

    def _publish(self, part: Path, target: Path, *, empty: bool) -> None:
        """Move the finished folder to its place; it replaces an older one of the clip."""
        try:
            shutil.rmtree(target, ignore_errors=True)
            if not empty:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.rename(part, target)
        except OSError as error:
            raise make_disk_error(target, error) from error

    def _explain_no_face(self, seen: _Observations) -> str:
        """Say why a clip has no crop."""
        width, height = seen.size
        smallest = self.config.min_face_px * max(1.0, max(seen.size) / self.config.max_side_px)
        if seen.doubtful:
            return (
                f"{seen.doubtful} doubtful faces, none of probability"
                f" {self.config.min_probability:g} or more"
            )
        if min(seen.size) < smallest:
            return (
                f"the picture ({width}x{height}) is smaller than the smallest face looked for"
                f" ({smallest:.0f} px)"
            )
        if float(np.mean(seen.brightness)) < DARK:
            return f"the picture is dark (mean brightness {np.mean(seen.brightness):.0f} of 255)"
        return f"no face of {smallest:.0f} px or more in {seen.frames} frames of {width}x{height}"


def make_rows(clip: Clip, record: Record) -> Iterator[CropRow]:
    """The rows of the index for the crops of one clip."""
    for crop in record.crops:
        yield CropRow(
            file=f"{CROPS_DIR}/{record.folder}/{crop.name}",
            label=clip.label,
            video=clip.video,
            original=clip.original,
            dataset=clip.dataset,
            method=clip.method,
            split=clip.split,
            t_s=crop.t_s,
            face_px=crop.face_px,
            track=crop.track,
            face_probability=crop.probability,
            landmarks=crop.landmarks,
            identities=clip.identities,
        )


def select_people(entries: Sequence[CropEntry], config: ExtractConfig) -> set[int]:
    """Select the tracks of a clip to keep.

    A track that never reaches `sure_probability` is dropped if it shares a frame with one that
    does: mostly it is a hand or a pattern. Alone it can be a dark face, and is kept.

    Args:
        entries: the crops of the clip.
        config: the settings.

    Returns:
        The numbers of the tracks.
    """
    best: dict[int, float] = {}
    area: dict[int, float] = {}
    for entry in entries:
        best[entry.track] = max(best.get(entry.track, 0.0), entry.probability)
        area[entry.track] = area.get(entry.track, 0.0) + entry.face_px**2
    sure = {track for track in best if best[track] >= config.sure_probability}
    seen_with_sure = {entry.t_s for entry in entries if entry.track in sure}
    beside = {entry.track for entry in entries if entry.t_s in seen_with_sure}
    kept = sure | (best.keys() - beside)
    return (
        {max(kept, key=lambda track: area[track])} if kept and config.people == "largest" else kept
    )
