"""Batches of a task's shape, without its data: random numbers, every sequence as long as the task allows."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lra_bench.core.batch import Batch
from lra_bench.core.specs import InputKind, OutputKind, TaskSpec
from lra_bench.data.datamodule import SequenceDataModule, Source, Split

POOL = 256
"""Examples that there are; a batch may hold one of them twice."""


class Synthetic(SequenceDataModule):
    """Stands in for a task whose data are not prepared. Nothing can be learnt from it.

    Args:
        task: whose shapes, batch sizes and seeds it has.
    """

    def __init__(self, task: SequenceDataModule) -> None:
        super().__init__(task.cfg, task.data_seed, task.protocol, task.train, task.seed)
        self._spec = task.spec

    @property
    def spec(self) -> TaskSpec:
        """That of the task."""
        return self._spec

    def fingerprint(self) -> str:
        """Says what it is."""
        return "synthetic"

    def source(self, split: Split) -> Source:
        """The same random examples for every split."""
        return SyntheticSource(self._spec)

    def baselines(self) -> dict[str, dict[str, float]]:
        """None."""
        return {}


class SyntheticSource(Source):
    """`POOL` random examples, as a model reads them."""

    def __init__(self, spec: TaskSpec) -> None:
        generator = torch.Generator().manual_seed(0)
        shape = (POOL, spec.seq_len)
        self.size = POOL
        x, second = _inputs(spec, generator), None
        if spec.output is OutputKind.CLASSIFY_PAIR:
            second = _inputs(spec, generator)
        if spec.output is OutputKind.REGRESS_SEQUENCE:
            y = torch.randn(*shape, spec.output_size, generator=generator)
        else:
            labelled = shape if spec.output is OutputKind.CLASSIFY_STEPS else shape[:1]
            y = torch.randint(spec.output_size, labelled, generator=generator)
        group = torch.arange(POOL) % len(spec.groups) if spec.groups else None
        self._all = Batch(x, y, x2=second, group=group)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        return self._all.select(torch.tensor(indices))


def _inputs(spec: TaskSpec, generator: torch.Generator) -> Tensor:
    """(POOL, L) int64 tokens, none of them padding, or (POOL, L, C) float32."""
    if spec.input is InputKind.TOKENS:
        return torch.randint(min(1, spec.input_size - 1), spec.input_size, (POOL, spec.seq_len), generator=generator)
    return torch.randn(POOL, spec.seq_len, spec.input_size, generator=generator)
