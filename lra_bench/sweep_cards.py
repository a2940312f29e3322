"""What the shipped sweeps are for: read off their files.

`python -m lra_bench.sweep_cards FOLDER` writes the page. Comments at the top of a sweep file say what it asks
(`# question:`), what else one should know (`# note:`), how it is run (`# run:`) and what that costs (`# cost:`); a text
may take several lines of the same name.
"""

import sys
from pathlib import Path

from lra_bench.config.files import first_comment
from lra_bench.core.files import write_atomically
from lra_bench.trials.sweepfile import Sweep, read_sweep, shipped_sweeps

INTRODUCTION = """# Sweeps

These come with the package and run by name. Any setting can be changed for all cells, as in `task=lds_noisy`; give the
study a name of its own then, as in `study=noisy`. A file of your own in the same format, that of W&B, runs as well.
Costs hold under the conditions that are named; `lra-bench sweep estimate NAME` measures those on your machine. What
takes too long on one machine is shared among several with `--shard I/N`, `--launcher slurm` or `--launcher ray`.
"""


def fact(path: Path, name: str) -> list[str]:
    """The lines with a name at the top of a sweep file."""
    mark = f"# {name}: "
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix(mark) for line in lines if line.startswith(mark)]


def axes(sweep: Sweep) -> dict[str, int]:
    """Parameters that differ between cells, and how many values each takes."""
    values: dict[str, set[str]] = {}
    for cell in sweep.cells:
        for word in cell:
            key, _, value = word.partition("=")
            values.setdefault(key, set()).add(value)
    return {key: len(found) for key, found in values.items() if len(found) > 1}


def page() -> str:
    """All shipped sweeps as Markdown."""
    rows, parts = [], []
    for name, path in shipped_sweeps().items():
        sweep = read_sweep(name)
        rows.append(f"| [{name}](#{name}) | {len(sweep.cells)} | {first_comment(path)} |")
        parts.append(_part(name, path, sweep))
    return "\n".join([INTRODUCTION, "| sweep | cells | what it is |", "|---|---|---|", *rows, "", *parts])


def _part(name: str, path: Path, sweep: Sweep) -> str:
    said = {each: " ".join(fact(path, each)) for each in ("question", "note", "cost")}
    varied = ", ".join(f"`{key}` ({count})" for key, count in axes(sweep).items())
    note = [f"- note: {said['note']}"] if said["note"] else []
    facts = [f"- axes: {varied}", f"- cells: {len(sweep.cells)}", f"- cost: {said['cost']}", *note]
    return "\n".join([f"## {name}", "", said["question"], "", *facts, "", "```bash", *fact(path, "run"), "```", ""])


def main(root: Path) -> None:
    """Write the page into a checkout."""
    write_atomically(root / "docs" / "sweeps.md", page())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
