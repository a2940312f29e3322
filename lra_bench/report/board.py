"""Boards, rows and cells: the shapes that a report's records are sorted into."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from lra_bench.core.record import RunRecord, Status
from lra_bench.report import formatting
from lra_bench.report.statistics import Summary
from lra_bench.report.trial import Tier, Trial

RAN_TO_THE_END = (Status.OK, Status.CHANCE)
"""The outcomes that are not failures."""

NO_VALUE = "no value"
"""Names the failure of a trial that ran to its end without a finite validation metric."""


@dataclass(frozen=True)
class Metric:
    """The primary metric of a board.

    Attributes:
        name: as in the records' `val` and `test`.
        higher_is_better: a score between chance and 1, else an error between 0 and chance.
        chance: value that a trivial predictor reaches.
    """

    name: str
    higher_is_better: bool
    chance: float

    @property
    def worst(self) -> float:
        """What a failed trial counts as."""
        return -math.inf if self.higher_is_better else math.inf

    @property
    def perfect(self) -> float:
        """The best value there can be."""
        return 1.0 if self.higher_is_better else 0.0

    def cost(self, value: float) -> float:
        """`value` as something to minimise: its signed distance from the perfect value."""
        return self.perfect - value if self.higher_is_better else value

    def value(self, record: RunRecord, measured: Mapping[str, float | None]) -> float:
        """The metric in the record's `val` or `test`; the worst value if it is not there or the trial failed."""
        value = measured.get(self.name)
        return self.worst if value is None or record.status not in RAN_TO_THE_END else value

    def failure(self, record: RunRecord) -> str | None:
        """The name of the way in which the trial failed, or None if it has a result."""
        if record.status not in RAN_TO_THE_END:
            return record.status.value
        return NO_VALUE if record.val.get(self.name) is None else None


UNKNOWN_METRIC = Metric(name="metric", higher_is_better=False, chance=math.nan)
"""Of a board none of whose trials got as far as building the task."""


@dataclass(frozen=True)
class Cell:
    """One row at one learning rate: the trials of its seeds.

    Attributes:
        rate: learning rate of `optim.lr`.
        trials: all of them, failed ones too.
        val: primary metric on the validation split.
        test: primary metric on the test split.
        failures: number of trials by the name of their failure.
    """

    rate: float
    trials: tuple[Trial, ...]
    val: Summary
    test: Summary
    failures: dict[str, int]

    @property
    def n(self) -> int:
        """Number of trials."""
        return len(self.trials)

    @property
    def failed(self) -> int:
        """Number of failed trials."""
        return sum(self.failures.values())


@dataclass(frozen=True)
class Row:
    """Trials that are equal in everything but learning rate and seeds.

    Attributes:
        label: model name, and what sets it apart from the board's other rows of that model.
        settings: config by dotted key, values as JSON, without the keys of `NOT_COMPARED`.
        cells: by ascending learning rate.
        missing: seeds of the board that were not run, summed over this row's learning rates.
    """

    label: str
    settings: dict[str, str]
    cells: tuple[Cell, ...]
    missing: int

    @property
    def model(self) -> str:
        """The name of its model."""
        return formatting.plain(self.settings.get("model.name", "?"))

    @cached_property
    def trials(self) -> tuple[Trial, ...]:
        """The trials of all cells."""
        return tuple(trial for cell in self.cells for trial in cell.trials)

    @cached_property
    def failures(self) -> dict[str, int]:
        """Number of trials by the name of their failure."""
        return total(cell.failures for cell in self.cells)

    @property
    def fixed_groups(self) -> dict[str, float]:
        """Optimizer groups whose rate was the same at all learning rates tried, and that rate."""
        rates: dict[str, list[float]] = defaultdict(list)
        for cell in self.cells:
            for group, rate in cell.trials[0].record.learning_rates.items():
                rates[group].append(rate)
        return {group: r[0] for group, r in sorted(rates.items()) if len(r) > 1 and len(set(r)) == 1}


@dataclass(frozen=True)
class Board:
    """Rows that may stand in one table.

    Attributes:
        label: name of the task, and the settings that set it apart from other boards of that task.
        task: name of the task.
        version: of the task; None where no trial got as far as building it.
        origin: of the data, official or generated; None where it is not recorded.
        tier: who measured it.
        track: uniform or recipe, or both where they were mixed.
        protocol: clean or legacy, or both where they were mixed.
        metric: `UNKNOWN_METRIC` where no trial got as far as building the task.
        baselines: primary test metric of trivial and optimal predictors, median over trials.
        shared: settings that all rows have in common.
        rows: complete ones first, then by test metric at their best learning rate.
    """

    label: str
    task: str
    version: int | None
    origin: str | None
    tier: Tier
    track: str
    protocol: str
    metric: Metric
    baselines: dict[str, float]
    shared: dict[str, str]
    rows: tuple[Row, ...]

    @cached_property
    def trials(self) -> tuple[Trial, ...]:
        """The trials of all rows."""
        return tuple(trial for row in self.rows for trial in row.trials)

    @cached_property
    def failures(self) -> dict[str, int]:
        """Number of trials by the name of their failure."""
        return total(row.failures for row in self.rows)

    @property
    def conditions(self) -> str:
        """Tier, task version, origin of the data, track and protocol in words."""
        version = "version unknown" if self.version is None else f"version {self.version}"
        origin = [] if self.origin is None else [f"{self.origin} data"]
        return ", ".join([self.tier, version, *origin, f"{self.track} track", f"{self.protocol} protocol"])


def total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sum of counts by name, in order of name."""
    summed: Counter[str] = Counter()
    for count in counts:
        summed.update(count)
    return dict(sorted(summed.items()))
