"""``seedance export``: a batch's results as timelines, a contact sheet, a dataset or a list for ffmpeg."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from attrs import evolve, frozen
from cyclopts import Parameter

from seedance_async.batch import picks, results_reading
from seedance_async.batch.journal.remains import RESULTS
from seedance_async.batch.states import State
from seedance_async.cli.output import write_data, write_message
from seedance_async.errors import ConfigurationError
from seedance_async.exit_codes import ExitCode
from seedance_async.export import concat as joining
from seedance_async.export import sheet
from seedance_async.export.dataset import check_dataset, write_dataset
from seedance_async.export.otio_files import edl_text, otio_text
from seedance_async.export.places import SEAL, check_place, missing_files, relative, write
from seedance_async.export.probe import Footage, UnreadableError, probe
from seedance_async.export.selection import Selection, select, suffix
from seedance_async.export.sheet_layout import MOST_FRAMES
from seedance_async.export.timeline import Edit
from seedance_async.shortened import first_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from seedance_async.export.selection import Shot

CONCAT: Final = "concat.txt"
JOINED: Final = "joined"
SHOWN: Final = 5
"""Most names in a message."""

ENDINGS: Final = {
    "--otio": (".otio",),
    "--edl": (".edl",),
    "--contact-sheet": (".jpg", ".jpeg"),
    "--concat": (".txt",),
}


@Parameter(name="*")
@frozen(kw_only=True)
class Targets:
    """The files to write."""

    otio: Annotated[
        Path | None, Parameter(help="Write a timeline of the clips for OpenTimelineIO: F.otio.")
    ] = None
    edl: Annotated[Path | None, Parameter(help="Write an edit decision list (CMX 3600): F.edl.")] = None
    contact_sheet: Annotated[
        Path | None, Parameter(help="Write frames of each clip, and pictures, with names and times: F.jpg.")
    ] = None
    frames: Annotated[
        int, Parameter(help=f"Frames of each clip on the contact sheet, 1 to {MOST_FRAMES}.")
    ] = 4
    dataset: Annotated[
        Path | None, Parameter(help="Write a new folder with copies and metadata.jsonl for training.")
    ] = None
    concat: Annotated[
        Path | None,
        Parameter(
            help="Write a list of the clips for ffmpeg: F.txt. Default without other flags: DIR/concat.txt."
        ),
    ] = None

    @property
    def files(self) -> dict[str, Path]:
        """The requested files, by flag."""
        given = {
            "--otio": self.otio,
            "--edl": self.edl,
            "--contact-sheet": self.contact_sheet,
            "--concat": self.concat,
        }
        return {flag: path for flag, path in given.items() if path is not None}

    @property
    def need_clips(self) -> bool:
        """Whether a file is requested that holds only clips."""
        return any((self.otio, self.edl, self.concat))


def export(
    directory: Annotated[Path, Parameter(help="The directory of a batch that has run.")],
    /,
    *,
    targets: Targets | None = None,
) -> int:
    """Export the results of a batch: timelines, a contact sheet, a dataset, a list for ffmpeg.

    Exports the takes kept in a review (DIR/picks.jsonl) or, if none is kept, the
    newest saved take of every job of the manifest. A final replaces the take it
    was made from. Paths in timelines and lists are relative to them. Files that
    you have changed are not replaced.

    Exit codes: 0 written; 1 something could not be written, or the clips cannot
    be joined as they are; 2 usage error, nothing written.

    Example: seedance export boats --contact-sheet boats.jpg
    """
    targets = targets or Targets()
    if not targets.files and targets.dataset is None:
        targets = evolve(targets, concat=directory / CONCAT)
    _check(targets)
    return _Export(directory, targets).run()


def _check(targets: Targets) -> None:
    """Check that the requested files may be written.

    Raises:
        ConfigurationError: one of them may not.
    """
    if not 1 <= targets.frames <= MOST_FRAMES:
        raise ConfigurationError(f"--frames must be 1 to {MOST_FRAMES}; got {targets.frames}")
    for flag, path in targets.files.items():
        if path.suffix.lower() not in ENDINGS[flag]:
            raise ConfigurationError(f"{flag} {path}: the name must end in {' or '.join(ENDINGS[flag])}")
    if targets.dataset is not None:
        check_dataset(targets.dataset)


def _check_batch(directory: Path) -> None:
    """Check that a batch has run in a directory.

    Raises:
        ConfigurationError: none has.
    """
    if not os.path.lexists(directory / RESULTS):
        reason = f"has no {RESULTS}: name the directory of a batch that has run (its --output DIR)"
        raise ConfigurationError(f"{directory} {reason}")


@frozen
class _Loaded:
    """What is exported, with the properties of the clips.

    Attributes:
        selection: of files that exist.
        footage: properties of each clip, by file.
        faults: why a file cannot be exported, by file.
    """

    selection: Selection
    footage: Mapping[str, Footage]
    faults: Mapping[str, str]

    @property
    def clips(self) -> list[tuple[Shot, Footage]]:
        """The readable clips, with their properties."""
        return [(shot, self.footage[shot.file]) for shot in self.selection.clips if shot.file in self.footage]


class _Export:
    """One run of the command."""

    def __init__(self, directory: Path, targets: Targets) -> None:
        self._directory = directory
        self._targets = targets
        self._failed = False

    def run(self) -> int:
        """Write the requested files, report what was left out, and return the exit code."""
        _check_batch(self._directory)
        read = results_reading.read_whole(self._directory)
        selection = select(read.results, picks.load(self._directory))
        if not selection.shots:
            raise ConfigurationError(f"{self._directory} has nothing to export: {_why_nothing(selection)}")
        for flag, path in self._targets.files.items():  # only now, so that a wrong DIR is reported first
            check_place(path, flag)
        loaded = self._load(selection)
        if self._targets.need_clips and not loaded.clips:
            self._report_faults(loaded)
            reason = "no clips that can be put into a timeline; --contact-sheet and --dataset take pictures"
            raise ConfigurationError(f"{self._directory} has {reason}")
        self._report(selection, read.unreadable)
        self._report_faults(loaded)
        self._write(loaded)
        return ExitCode.FAILED if self._failed else ExitCode.OK

    def _load(self, selection: Selection) -> _Loaded:
        faults = missing_files(self._directory, (shot.file for shot in selection.shots))
        there = tuple(shot for shot in selection.shots if shot.file not in faults)
        selection, footage = evolve(selection, shots=there), {}
        for shot in selection.clips if self._targets.files else ():
            try:
                footage[shot.file] = probe(self._directory / shot.file)
            except UnreadableError as problem:
                faults[shot.file] = f"it cannot be read: {problem}"
        return _Loaded(selection, footage, faults)

    def _report(self, selection: Selection, unreadable: Sequence[int]) -> None:
        if unreadable:
            self._fault(f"lines {', '.join(map(str, unreadable[:SHOWN]))} of results.jsonl cannot be read")
        if selection.unsaved:
            write_message(f"left out, because not saved: {first_of(selection.unsaved)}")
        for take, job, state in selection.earlier[:SHOWN]:
            write_message(f"{take} is exported as the newest saved take of {job}: {_newer(state)}")
        if len(selection.earlier) > SHOWN:
            write_message(f"and likewise for {_count(len(selection.earlier) - SHOWN, 'more job')}")
        if selection.outdated:
            reason = "because their sources have newer takes"
            write_message(f"finals left out, {reason}: {first_of(selection.outdated)}")
        if selection.rejected:
            write_message(f"left out, because rejected in the review: {selection.rejected}")
        if selection.gone:
            write_message(f"left out, because no longer in the manifest: {_gone(selection)}")
        if selection.kept:
            write_message("only the takes kept in the review are exported")
        pictures = len(selection.shots) - len(selection.clips)
        if pictures and self._targets.need_clips:
            write_message(
                f"not in timelines and lists, because pictures have no length: {_count(pictures, 'picture')}"
            )

    def _report_faults(self, loaded: _Loaded) -> None:
        for file, fault in loaded.faults.items():
            self._fault(f"left out: {file}: {fault}")

    def _fault(self, message: str) -> None:
        self._failed = True
        write_message(message)

    def _write(self, loaded: _Loaded) -> None:
        """Write everything; errors in the flags were found before."""
        targets = self._targets
        texts = list(self._texts(loaded))
        if targets.contact_sheet is not None:
            sheet.check_packages()
            self._write_sheet(targets.contact_sheet, loaded)
        for what, path, text, extent in texts:
            write(path, text.encode())
            _row(what, path, extent)
        if targets.concat is not None:
            self._print_command(targets.concat, loaded.clips)
        if targets.dataset is not None:
            write_dataset(self._directory, targets.dataset, loaded.selection.shots)
            _row("dataset", targets.dataset, _count(len(loaded.selection.shots), "file"))

    def _texts(self, loaded: _Loaded) -> Iterator[tuple[str, Path, str, str]]:
        """Yield the name, path, text and extent of each file."""
        targets, extent = self._targets, _extent(loaded.clips)
        if targets.otio is not None:
            yield (
                "otio",
                targets.otio,
                otio_text(self._edits(targets.otio, loaded), title=self._title),
                extent,
            )
        if targets.edl is not None:
            text, rate = edl_text(self._edits(targets.edl, loaded), title=self._title)
            yield "edl", targets.edl, text, f"{extent}, counted in {float(rate):.6g} frames a second"
        if targets.concat is not None:
            above = targets.concat.parent
            files = [relative(self._directory / shot.file, above) for shot, _ in loaded.clips]
            yield "concat", targets.concat, joining.concat_text(files, note=SEAL), extent

    def _print_command(self, path: Path, clips: Sequence[tuple[Shot, Footage]]) -> None:
        """Print the command that joins the clips, and what the clips differ in, if they do."""
        for difference in joining.disagreements([(shot.name, footage) for shot, footage in clips]):
            self._fault(f"the clips cannot be joined as they are: {difference}")
        first, footage_of_first = clips[0]
        if any(footage.sound for _, footage in clips) and not footage_of_first.sound:
            write_message(f"the joined clip is silent, because {first.name}, its first, has no sound")
        joined = path.with_name(f"{JOINED}{suffix(first.file)}")
        words = joining.join_words(
            [footage for _, footage in clips], listed=_argument(path), joined=_argument(joined)
        )
        write_data(f"{'join':<9} {shlex.join(words)}")

    def _write_sheet(self, path: Path, loaded: _Loaded) -> None:
        shots = loaded.selection.shots
        stills = [self._still(shot, loaded) for shot in shots]
        ratio = _ratio([footage for _, footage in loaded.clips])
        pages, faults = sheet.write_sheet(path, stills, frames=self._targets.frames, ratio=ratio)
        for file, fault in faults.items():
            self._fault(f"cannot be shown: {file}: {fault}")
        for page in pages:
            _row("sheet", page, "")

    def _still(self, shot: Shot, loaded: _Loaded) -> sheet.Still:
        footage = loaded.footage.get(shot.file)
        return sheet.Still(
            name=shot.name,
            path=self._directory / shot.file,
            seconds=None if footage is None else footage.seconds,
            fault=loaded.faults.get(shot.file),
        )

    def _edits(self, path: Path, loaded: _Loaded) -> list[Edit]:
        return [
            Edit(
                name=shot.name,
                path=relative(self._directory / shot.file, path.parent),
                rate=footage.rate,
                frames=footage.frames,
                has_sound=footage.sound is not None,
                model=shot.model,
                prompt=shot.prompt,
                seed=shot.seed,
                task_ids=shot.task_ids,
            )
            for shot, footage in loaded.clips
        ]

    @property
    def _title(self) -> str:
        return self._directory.resolve().name


def _why_nothing(selection: Selection) -> str:
    if selection.rejected:
        return "all saved takes are rejected in the review"
    if selection.gone:
        return f"all saved jobs are no longer in the manifest: {_gone(selection)}"
    return "none of its jobs is saved"


def _gone(selection: Selection) -> str:
    return f"{_count(selection.gone, 'job')}; takes kept in `seedance review` are exported all the same"


def _newer(state: str) -> str:
    """Say why a newer take is not exported."""
    if state in {State.FAILED, State.REFUSED}:
        return f"a newer one {'has failed' if state == State.FAILED else 'was refused'}"
    return f"a newer one is not finished ({state})"


def _row(what: str, path: Path, extent: str) -> None:
    write_data(f"{what:<9} {path}{f': {extent}' if extent else ''}")


def _extent(clips: Iterable[tuple[Shot, Footage]]) -> str:
    lengths = [footage.seconds for _, footage in clips]
    return f"{_count(len(lengths), 'clip')}, {sum(lengths):.4g} s"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _ratio(clips: Sequence[Footage]) -> float:
    """Return the most common ratio of width to height."""
    if not clips:
        return 4 / 3
    ((ratio, _),) = Counter(clip.width / max(1, clip.height) for clip in clips).most_common(1)
    return ratio


def _argument(path: Path) -> str:
    """Return a path in a form that a command does not take for an option."""
    return f".{os.sep}{path}" if str(path).startswith("-") else str(path)
