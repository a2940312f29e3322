"""Layers of several models and peers on inputs of several shapes: time, memory, error, share of the machine's limit.

Layers on the same input take turns, each in a process of its own, and are compared only with one another.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from lra_bench.benchmarks.cases import Case, Maker, Shape
from lra_bench.benchmarks.race import Result, race
from lra_bench.benchmarks.results import Benchmark, Column, Row, machine
from lra_bench.benchmarks.roofline import Rates, measured_rates

IDENTITY = ("shape", "dtype", "model")

COLUMNS = (
    Column("shape", "shape"),
    Column("dtype", "dtype"),
    Column("model", "layer"),
    Column("forward", "forward, ms", "{:.3g}"),
    Column("backward", "backward, ms", "{:.3g}"),
    Column("both", "both, ms", "{:.3g}", "less"),
    Column("quartiles", "quartiles"),
    Column("megabytes", "memory, MB", "{:.0f}", "less"),
    Column("error", "error", "{:.0e}", "less"),
    Column("bound", "least, ms", "{:.3g}"),
    Column("share", "of it", "{:.0%}"),
)


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        makers: our layers.
        peers: other people's, in float32 alone.
        shapes: inputs.
        dtypes: some of `cases.DTYPES`.
        device: where.
        threads: on the processor.
        seconds: of timed passes for each layer on each input.
    """

    makers: Sequence[Maker]
    peers: Sequence[Maker]
    shapes: Sequence[Shape]
    dtypes: Sequence[str]
    device: torch.device
    threads: int
    seconds: float


def measure(plan: Plan, say: Callable[[str], None]) -> Benchmark:
    """Measure all that is planned.

    Args:
        plan: what.
        say: gets lines on what is going on.

    Raises:
        LraBenchError: a layer cannot be made, or fails; names it.
    """
    say("the machine's rates")
    rates = {dtype: measured_rates(plan.device, getattr(torch, dtype), plan.seconds) for dtype in plan.dtypes}
    rows: list[Row] = []
    for shape in plan.shapes:
        for dtype in plan.dtypes:
            cases = _cases(plan, shape, dtype)
            say(f"{shape.name}, {dtype}: {', '.join(case.maker.name for case in cases)}")
            rows += _rows(cases, race(cases, plan.seconds, with_errors=True), rates[dtype])
    names = [peer.name for peer in plan.peers]
    ratios = [column for name in names for column in _ratio_columns(name)]
    return Benchmark("layer", _conditions(plan, rates), IDENTITY, (*COLUMNS, *ratios), rows)


def routes(benchmark: Benchmark) -> list[str]:
    """Lines that say which way each layer computed, and on which inputs."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in benchmark.rows:
        if (route := row.get("route")) is not None:
            shapes = found.setdefault((str(row["model"]), str(route)), [])
            shapes += [str(row["shape"])] if row["shape"] not in shapes else []
    return [f"{model} at {', '.join(shapes)}: {route}" for (model, route), shapes in found.items()]


def _cases(plan: Plan, shape: Shape, dtype: str) -> list[Case]:
    makers = [*plan.makers, *(plan.peers if dtype == "float32" else ())]
    return [Case(maker, shape, dtype, str(plan.device), plan.threads) for maker in makers]


def _rows(cases: Sequence[Case], results: Sequence[Result], rates: Rates) -> list[Row]:
    """A row for each case, those of our layers with ratios to the peers."""
    rows = [_row(case, result, rates) for case, result in zip(cases, results, strict=True)]
    peers = {case.maker.name: row for case, row in zip(cases, rows, strict=True) if case.maker.peer}
    for row in rows:
        for name, peer in peers.items() if row["model"] not in peers else ():
            row[f"time/{name}"] = _over(row["both"], peer["both"])
            row[f"memory/{name}"] = _over(row["megabytes"], peer["megabytes"])
    return rows


def _row(case: Case, result: Result, rates: Rates) -> Row:
    both = result.both
    bound = rates.seconds(result.work.moved, result.work.operations) if result.work else None
    return {
        "shape": case.shape.name,
        "dtype": case.dtype,
        "model": case.maker.name,
        "sizes": " x ".join(map(str, case.shape.sizes)),
        "forward": _ms(result.forward.median if result.forward else None),
        "backward": _ms(result.backward.median if result.backward else None),
        "both": _ms(both.median),
        "quartiles": f"{1000 * both.lower:.3g} to {1000 * both.upper:.3g}",
        "repeats": both.repeats,
        "megabytes": result.megabytes,
        "error": result.error,
        "bound": _ms(bound),
        "share": bound / both.median if bound is not None else None,
        "moved_mb": result.work.moved / 1e6 if result.work else None,
        "gigaflop": result.work.operations / 1e9 if result.work else None,
        "building": result.building,
        "route": result.route,
    }


def _conditions(plan: Plan, rates: dict[str, Rates]) -> dict[str, str]:
    reached = (
        f"copy {rate.copy / 1e9:.3g} GB/s, {dtype} product {rate.product / 1e9:.3g} GFLOP/s"
        for dtype, rate in rates.items()
    )
    settings = {"layers": "mixer, GELU and gated linear map"} if any(maker.block for maker in plan.makers) else {}
    sizes = ", ".join(f"{shape.name} {' x '.join(map(str, shape.sizes))}" for shape in plan.shapes)
    return {
        **machine(plan.device),
        "threads": str(plan.threads),
        "shapes (B x L x D)": sizes,
        **settings,
        "reached": "; ".join(reached),
    }


def _ratio_columns(peer: str) -> tuple[Column, Column]:
    return (
        Column(f"time/{peer}", f"time / {peer}", "{:.2f}"),
        Column(f"memory/{peer}", f"memory / {peer}", "{:.2f}"),
    )


def _over(ours: object, theirs: object) -> float | None:
    return ours / theirs if isinstance(ours, float) and isinstance(theirs, float) and theirs else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1000 * seconds
