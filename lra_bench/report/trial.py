"""One trial as a report sees it: its record, where that was found, and who measured it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lra_bench.core.record import RunRecord

Tier = Literal["measured", "submitted"]
"""Measured by those who make the report, or sent to them. Numbers quoted from papers are no trials."""


@dataclass(frozen=True)
class Trial:
    """A record and its origin.

    Attributes:
        record: of the trial.
        file: where the record was read; None where it never was in a file.
        submission: name of the submission that it is part of; None for a trial measured here.
    """

    record: RunRecord
    file: Path | None = None
    submission: str | None = None

    @property
    def seeds(self) -> tuple[int, int]:
        """Its seed and its data seed, which tell the trials of a cell apart."""
        return self.record.seed, self.record.data_seed

    @property
    def tier(self) -> Tier:
        """Submitted if it is part of a submission."""
        return "measured" if self.submission is None else "submitted"


def measured(records: Iterable[RunRecord]) -> list[Trial]:
    """Records as trials measured here."""
    return [Trial(record) for record in records]
