"""docs/speed.md and the README's table, from what `lra-bench bench KIND --json docs/speed/KIND.json` measured.

Run as `python -m lra_bench.benchmarks.page FOLDER`. Both are functions of these files alone, and a test checks it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from lra_bench.benchmarks.layer import routes
from lra_bench.benchmarks.results import Benchmark, Column, Row, shared_columns
from lra_bench.core.errors import FileError
from lra_bench.core.files import write_atomically

TITLES = {
    "layer": ("Layers", "Forward and backward pass of one layer; `lra-bench bench layer --help` explains the columns."),
    "scaling": ("Length", "A pass, its memory, and making the layer, against the length of the input."),
    "train": ("Training", "Whole training steps of recipes."),
    "sweep": ("Sweeps", "The cells of a sweep as one program, beside a process for each."),
    "data": ("Data", "Training batches of one process."),
}
"""Kinds of benchmarks in the order of the page: heading, and what the section is about."""

BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"

HEAD = """# Speed

All numbers are from `make bench`; those of one table are from one run. On your machine:
`lra-bench bench layer --compare docs/speed/layer.json`.
"""


def page(benchmarks: Sequence[Benchmark]) -> str:
    """The text of docs/speed.md."""
    found = {benchmark.kind: benchmark for benchmark in benchmarks}
    sections = [_section(found[kind]) for kind in TITLES if kind in found]
    return "\n".join([HEAD, *sections])


def readme_block(layers: Benchmark) -> str:
    """The README's table: time and memory of each layer on each input."""
    rows = [row for row in layers.rows if row["dtype"] == "float32"]
    shapes = list(dict.fromkeys((row["shape"], row["sizes"]) for row in rows))
    cells = {(row["model"], row["shape"]): f"{row['both']:,.0f} ms, {row['megabytes']:,.0f} MB" for row in rows}
    models = list(dict.fromkeys(row["model"] for row in rows))
    header = ["layer", *(f"{shape}, {sizes}" for shape, sizes in shapes)]
    body = [[str(model), *(cells.get((model, shape), "–") for shape, _ in shapes)] for model in models]
    kept = ("machine", "threads", "torch")
    conditions = ", ".join(f"{name} {layers.conditions[name]}" for name in kept)
    about = f"Forward and backward pass of one layer, float32, B x L x D; {conditions}; `make bench`, docs/speed.md."
    return "\n".join([BEGIN, *_table(header, body), "", about, END])


def with_block(text: str, block: str, path: Path) -> str:
    """A page with the block in the place of the one it has.

    Raises:
        FileError: the page has no place for it.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise FileError(path, f"has no lines {BEGIN} and {END} for the table")
    return f"{before}{block}{after}"


def read_all(folder: Path) -> list[Benchmark]:
    """What is in docs/speed, in the order of the page."""
    return [Benchmark.read(path) for kind in TITLES if (path := folder / f"{kind}.json").exists()]


def _section(benchmark: Benchmark) -> str:
    heading, about = TITLES[benchmark.kind]
    shared = shared_columns(benchmark)
    said = {column.heading: column.text(benchmark.rows[0]) for column in shared}
    conditions = [f"- {name}: {text}" for name, text in {**benchmark.conditions, **said}.items()]
    columns = [column for column in benchmark.columns if column not in shared]
    table = _table([column.heading for column in columns], [_cells(columns, row) for row in benchmark.rows])
    ways = [f"- {line}" for line in routes(benchmark)]
    more = ["", "How they were computed:", "", *ways] if ways else []
    return "\n".join([f"## {heading}", "", about, "", *conditions, "", *table, *more, ""])


def _cells(columns: Sequence[Column], row: Row) -> list[str]:
    return [column.text(row) for column in columns]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---", *("---:" for _ in header[1:])]
    return [f"| {' | '.join(line)} |" for line in (header, rule, *rows)]


def main(root: Path) -> None:
    """Write both from docs/speed/*.json.

    Raises:
        FileError: nothing was measured, or a file is no benchmark, or the README has no place for the table.
    """
    benchmarks = read_all(root / "docs" / "speed")
    layers = next((benchmark for benchmark in benchmarks if benchmark.kind == "layer"), None)
    if layers is None:
        raise FileError(root / "docs" / "speed" / "layer.json", "is missing; `make bench` measures it")
    readme = root / "README.md"
    text = with_block(readme.read_text(encoding="utf-8"), readme_block(layers), readme)
    write_atomically(root / "docs" / "speed.md", page(benchmarks))
    write_atomically(readme, text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
