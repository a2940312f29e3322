"""What a benchmark found: a table with the conditions it holds under, as text, as JSON, and beside an older one."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import click
import torch

from lra_bench.core.errors import ConfigError, FileError
from lra_bench.core.files import write_atomically
from lra_bench.environment import code_version, processor, python_version

Value = str | float | None
Row = dict[str, Value]

WIDTH = 100
GAP = "  "
NOTHING = "–"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        key: of its values in the rows.
        heading: what people read, unit included.
        form: how a number is written, as `str.format` takes it; text is written as it is.
        better: which numbers are the better ones, for columns that are compared with an older run.
    """

    key: str
    heading: str
    form: str = "{}"
    better: Literal["less", "more"] | None = None

    def text(self, row: Row) -> str:
        """A row's value as it is shown."""
        value = row.get(self.key)
        return NOTHING if value is None else value if isinstance(value, str) else self.form.format(value)


@dataclass(frozen=True)
class Benchmark:
    """What one run measured.

    Attributes:
        kind: "layer", "scaling", "data", "train" or "sweep".
        conditions: name -> text, of what the numbers depend on: machine, threads, versions, repeats.
        identity: keys of the columns that say what a row is about; no two rows agree in all of them.
        columns: in order.
        rows: key -> value; more keys than there are columns are kept in the JSON only.
    """

    kind: str
    conditions: dict[str, str]
    identity: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: list[Row]

    def name(self, row: Row) -> tuple[Value, ...]:
        """What a row is about."""
        return tuple(row.get(key) for key in self.identity)

    def write(self, path: Path) -> None:
        """Write as JSON, which `read` takes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Benchmark":
        """Read what `write` wrote.

        Raises:
            FileError: no such file, or no benchmark in it.
        """
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            columns = tuple(Column(**column) for column in found["columns"])
            rows = [dict(row) for row in found["rows"]]
            conditions = {str(name): str(text) for name, text in found["conditions"].items()}
            return cls(str(found["kind"]), conditions, tuple(found["identity"]), columns, rows)
        except OSError as error:
            raise FileError(path, f"cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FileError(path, "is no benchmark; --json of `lra-bench bench` writes one") from error


def machine(device: torch.device | str = "cpu") -> dict[str, str]:
    """Conditions that every benchmark has: the processor or GPU, cores, threads, memory, versions, commit."""
    device = torch.device(device)
    name, cores, memory_gb = processor()
    commit, changed = code_version()
    on = f"{torch.cuda.get_device_name(device)}, host {name}" if device.type == "cuda" else name
    return {
        "machine": f"{on}, {cores} cores, {memory_gb:.0f} GB",
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "python": python_version(),
        "code": f"{commit[:8]}{', changed since' if changed else ''}" if commit else "installed package",
    }


def older_run(kind: str, compare: Path | None) -> Benchmark | None:
    """Read what a run is to be compared with, before hours are spent on the run.

    Raises:
        FileError: it cannot be read.
        ConfigError: it is of another kind.
    """
    older = Benchmark.read(compare) if compare else None
    if older and older.kind != kind:
        raise ConfigError(f"{compare} is of `bench {older.kind}`, and this is `bench {kind}`")
    return older


def publish(benchmark: Benchmark, json_path: Path | None, compare: Path | None) -> None:
    """Print conditions and table; write JSON; print the ratios to an older run.

    Args:
        benchmark: what was measured.
        json_path: where to write it, if anywhere.
        compare: an older JSON file of the same kind of benchmark.

    Raises:
        FileError: `compare` cannot be read.
        ConfigError: it holds another kind of benchmark.
    """
    older = older_run(benchmark.kind, compare)
    if json_path:
        benchmark.write(json_path)
    click.echo(as_text(benchmark))
    if json_path:
        click.echo(f"\nWrote {json_path}; later: lra-bench bench {benchmark.kind} --compare {json_path}")
    if older:
        click.echo(f"\n{comparison(benchmark, older)}")


def as_text(benchmark: Benchmark) -> str:
    """Conditions and table, at most 100 columns wide; what all rows share is said once, above."""
    shared = shared_columns(benchmark)
    said = {column.heading: column.text(benchmark.rows[0]) for column in shared}
    conditions = "; ".join(f"{name}: {text}" for name, text in {**benchmark.conditions, **said}.items())
    lines = textwrap.wrap(conditions, WIDTH, subsequent_indent=GAP, break_on_hyphens=False)
    columns = [column for column in benchmark.columns if column not in shared]
    first = [column for column in columns if column.key in benchmark.identity]
    others = [column for column in columns if column.key not in benchmark.identity]
    return "\n".join([*lines, "", *_table(first, others, benchmark.rows)])


def shared_columns(benchmark: Benchmark) -> list[Column]:
    """Columns that say the same of all rows, of two or more, so that once is enough; never those that are compared."""
    if len(benchmark.rows) < 2:
        return []
    texts = {column: {column.text(row) for row in benchmark.rows} for column in benchmark.columns}
    return [column for column in benchmark.columns if len(texts[column]) == 1 and column.better is None]


def comparison(now: Benchmark, then: Benchmark) -> str:
    """A table of ratios now / then of the rows that both have, and a line on what differs otherwise."""
    older = {now.name(row): row for row in then.rows}
    compared = [column for column in now.columns if column.better]
    both = [(row, older[now.name(row)]) for row in now.rows if now.name(row) in older]
    ratios = [{**row, **{column.key: _ratio(row, old, column.key) for column in compared}} for row, old in both]
    first = [column for column in now.columns if column.key in now.identity]
    shown = [Column(column.key, f"{_without_unit(column.heading)} ({column.better})", "{:.2f}x") for column in compared]
    lines = ["Now / then, and which is better:", "", *_table(first, shown, ratios)] if both else []
    return "\n".join([*lines, *_differences(now, then)])


def _differences(now: Benchmark, then: Benchmark) -> Iterator[str]:
    """Lines on rows that only one of two runs has, and on conditions that are not the same."""
    rows, older = {now.name(row) for row in now.rows}, {now.name(row) for row in then.rows}
    for heading, names in (("Only now", rows - older), ("Only then", older - rows)):
        if names:
            yield f"{heading}: {', '.join(sorted(' '.join(str(part) for part in name) for name in names))}."
    for name in [*now.conditions, *(name for name in then.conditions if name not in now.conditions)]:
        new, old = now.conditions.get(name, NOTHING), then.conditions.get(name, NOTHING)
        if new != old:
            yield f"Not the same: {name}: {new} now, {old} then."


def _ratio(new: Row, old: Row, key: str) -> float | None:
    a, b = new.get(key), old.get(key)
    return a / b if isinstance(a, (int, float)) and isinstance(b, (int, float)) and b else None


def _without_unit(heading: str) -> str:
    return heading.rpartition(", ")[0] or heading


def _table(first: Sequence[Column], others: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """Aligned lines; columns that do not fit beside the others stand below, with the first ones again."""
    shown = {column.key: [column.heading, *(column.text(row) for row in rows)] for column in (*first, *others)}
    widths = {key: max(map(len, texts)) for key, texts in shown.items()}
    start = sum(widths[column.key] + len(GAP) for column in first)
    blocks: list[list[Column]] = [[]]
    used = start
    for column in others:
        if blocks[-1] and used + widths[column.key] > WIDTH:
            blocks.append([])
            used = start
        blocks[-1].append(column)
        used += widths[column.key] + len(GAP)
    lines: list[str] = []
    for block in blocks:
        if lines:
            lines.append("")
        for place in range(len(rows) + 1):
            cells = [shown[column.key][place].ljust(widths[column.key]) for column in first]
            cells += [_aligned(shown[column.key], place, widths[column.key]) for column in block]
            lines.append(GAP.join(cells).rstrip())
    return lines


def _aligned(texts: Sequence[str], place: int, width: int) -> str:
    """Words to the left, numbers to the right."""
    numeric = all(text[:1].isdigit() or text[:1] in NOTHING for text in texts[1:])
    return texts[place].rjust(width) if numeric else texts[place].ljust(width)
