"""Where records are: folders are searched to any depth, submissions are taken at their word and checked."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lra_bench.core.errors import FileError, LraBenchError
from lra_bench.core.record import RunRecord
from lra_bench.report.content import Problem
from lra_bench.report.files.submissions import FILE_NAME as SUBMISSION
from lra_bench.report.files.submissions import RECORDS, Submission, file_hash
from lra_bench.report.trial import Trial

FILE_NAME = "record.json"
OF_A_TRIAL = {FILE_NAME, "config.yaml"}
"""Files by which the folder of a trial is known."""
WITHOUT_RECORDS = {"checkpoints", "wandb"}
"""Folders of a trial that are large and hold none."""


@dataclass(frozen=True)
class RecordFile:
    """A file that should hold a record.

    Attributes:
        path: of the file.
        submission: that it is part of; None for one measured here.
    """

    path: Path
    submission: Submission | None = None

    def read(self) -> Trial:
        """The trial.

        Raises:
            FileError: no record of a known version, or not the file that the submission lists.
        """
        if self.submission is None:
            return Trial(RunRecord.read(self.path), self.path)
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise FileError(self.path, f"cannot be read: {error.strerror}") from error
        if file_hash(content) != self.submission.records[self.path.name]:
            raise FileError(self.path, f"is not the file that {SUBMISSION} lists: its SHA-256 differs")
        return Trial(RunRecord.parse(self.path, content), self.path, self.submission.name)


@dataclass
class Search:
    """What was found so far.

    Attributes:
        files: each once, however many paths lead to it.
        problems: what is in the way.
    """

    files: list[RecordFile] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    _seen: set[tuple[int, int, str]] = field(default_factory=set)

    def below(self, path: Path) -> None:
        """Search a folder, a submission or its folder of records; or take one file.

        Raises:
            LraBenchError: there is no such path.
        """
        if not path.exists():
            raise LraBenchError(f"there is no {path}")
        if path.name == SUBMISSION:
            self._submission(path.parent)
        elif path.is_dir():
            inside = path.name == RECORDS and (path.parent / SUBMISSION).is_file()
            self._folder(path.parent if inside else path)
        else:
            self._file(path)

    def _file(self, path: Path) -> None:
        """A file that was asked for by its name."""
        folder = path.parent.parent
        if path.parent.name == RECORDS and (folder / SUBMISSION).is_file():
            self._submission(folder, only=path.name)
        else:
            self._add(RecordFile(path))

    def _folder(self, top: Path) -> None:
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            if not self._first_time(folder, ""):
                continue
            try:
                with os.scandir(folder) as scan:
                    entries = sorted(scan, key=lambda entry: entry.name)
                if any(entry.name == SUBMISSION for entry in entries):
                    self._submission(folder)
                else:
                    waiting += reversed(list(self._enter(folder, entries)))
            except OSError as error:
                self.problems.append(Problem(folder, f"cannot be read: {error.strerror}"))

    def _enter(self, folder: Path, entries: Sequence[os.DirEntry[str]]) -> Iterator[Path]:
        """Take a folder's record; gives the folders that are to be searched."""
        left_out = WITHOUT_RECORDS if any(entry.name in OF_A_TRIAL for entry in entries) else set()
        for entry in entries:
            if entry.is_dir():
                if entry.name not in left_out and not entry.name.startswith("."):
                    yield folder / entry.name
            elif entry.name == FILE_NAME:
                self._add(RecordFile(folder / FILE_NAME))

    def _submission(self, folder: Path, only: str | None = None) -> None:
        """Take the files that a submission lists, or one of them."""
        try:
            submission = Submission.read(folder)
            there = set(os.listdir(folder / RECORDS))  # noqa: PTH208 (names are wanted)
        except FileError as error:
            self.problems.append(Problem(error.path, error.reason))
            return
        except OSError as error:
            self.problems.append(Problem(folder / RECORDS, f"cannot be read: {error.strerror}"))
            return
        there = {name for name in there if not name.startswith(".")}
        for name in sorted(there | submission.records.keys()) if only is None else [only]:
            path = folder / RECORDS / name
            if name not in submission.records:
                self.problems.append(Problem(path, f"is not listed in {SUBMISSION}"))
            elif name not in there:
                self.problems.append(Problem(path, f"is listed in {SUBMISSION} and not there"))
            else:
                self._add(RecordFile(path, submission))

    def _add(self, file: RecordFile) -> None:
        if not file.path.is_file():
            self.problems.append(Problem(file.path, "is not a file"))
        elif self._first_time(file.path.parent, file.path.name):
            self.files.append(file)

    def _first_time(self, folder: Path, name: str) -> bool:
        """Whether a file of a folder was not seen before; links may lead to it many times, or round in circles."""
        found = folder.stat()
        key = found.st_dev, found.st_ino, name
        new = key not in self._seen
        self._seen.add(key)
        return new
