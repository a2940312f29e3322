"""Validation and test of many trials: those that read the same examples read them together."""

from collections.abc import Callable, Sequence

import torch

from lra_bench.data.datamodule import Split
from lra_bench.stacked.network import StackedNet, Tensors
from lra_bench.stacked.scores import StackedScores
from lra_bench.stacked.streams import Stream


@torch.no_grad()
def evaluated(
    net: StackedNet,
    tensors: Callable[[slice], Tensors],
    streams: Sequence[Stream],
    split: Split,
    sequences: int,
    beat: Callable[[], None],
) -> list[dict[str, float]]:
    """Metrics of trials on a split of their tasks.

    Args:
        net: that computes them.
        tensors: gives the tensors of a range of the trials.
        streams: what each of the trials reads; those that read the same one are next to each other.
        split: validation or test.
        sequences: that may be computed at once, over all trials; more are computed in turn.
        beat: called now and then, as a sign of life.
    """
    found: list[dict[str, float]] = []
    while len(found) < len(streams):
        first = len(found)
        stream = streams[first]
        batches = stream.evaluation(split)
        at_once = max(1, sequences // len(batches[0].y))
        members = slice(first, min(first + at_once, first + list(streams[first:]).count(stream)))
        own, scores = tensors(members), StackedScores(stream.task.spec)
        for batch in batches:
            beat()
            scores.update(net(batch, False, training=False, tensors=own), batch)
        values = {name: value.tolist() for name, value in scores.compute().items()}
        found += [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return found
