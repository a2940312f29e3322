"""Small tasks of every kind, for tests; used as `tests.toy_tasks:Name`. Labels follow from the inputs."""

import hashlib
from dataclasses import asdict, dataclass

import torch

from lra_bench.core.batch import Batch
from lra_bench.core.settings import TaskConfig
from lra_bench.core.specs import InputKind, OutputKind, TaskSpec
from lra_bench.data.datamodule import SequenceDataModule, Source, Split

SIZES = {"train": 40, "val": 8, "test": 8}
WORDS = 6


@dataclass(frozen=True)
class ToyConfig(TaskConfig):
    """Length of the longest sequence."""

    seq_len: int = 16


class Toy(SequenceDataModule):
    """Sequences of random length, padded on the right."""

    Config = ToyConfig
    VERSION = 1
    cfg: ToyConfig
    input = InputKind.TOKENS
    output = OutputKind.CLASSIFY

    @property
    def spec(self) -> TaskSpec:
        regress = self.output is OutputKind.REGRESS_SEQUENCE
        groups = ("short", "long") if self.output is OutputKind.CLASSIFY_STEPS else ()
        return TaskSpec(
            name=self.cfg.name,
            version=self.VERSION,
            input=self.input,
            output=self.output,
            seq_len=self.cfg.seq_len,
            input_size=WORDS if self.input is InputKind.TOKENS else 2,
            output_size=2,
            metric="nmse" if regress else "accuracy",
            higher_is_better=not regress,
            chance=1.0 if regress else 0.5,
            chance_margin=0.01,
            train_size=SIZES["train"],
            val_size=SIZES["val"],
            test_size=SIZES["test"],
            source="made up",
            licence="none",
            pad_id=0 if self.input is InputKind.TOKENS else None,
            groups=groups,
        )

    def fingerprint(self) -> str:
        return hashlib.sha256(repr(asdict(self.cfg)).encode()).hexdigest()[:16]

    def baselines(self) -> dict[str, dict[str, float]]:
        return {}

    def source(self, split: Split) -> Source:
        return ToySource(self, split)


class TokensPair(Toy):
    output = OutputKind.CLASSIFY_PAIR


class TokensSteps(Toy):
    output = OutputKind.CLASSIFY_STEPS


class Continuous(Toy):
    input = InputKind.CONTINUOUS


class Regression(Toy):
    input = InputKind.CONTINUOUS
    output = OutputKind.REGRESS_SEQUENCE


class ToySource(Source):
    """All examples of a split, made at once."""

    def __init__(self, task: Toy, split: Split) -> None:
        self.task = task
        self.size = SIZES[split]
        self.generator = torch.Generator().manual_seed(list(SIZES).index(split))
        self.x, self.mask = self._documents()
        self.x2, self.mask2 = self._documents()

    def _documents(self) -> tuple[torch.Tensor, torch.Tensor]:
        length = self.task.cfg.seq_len
        lengths = torch.randint(1, length + 1, (self.size, 1), generator=self.generator)
        mask = torch.arange(length) < lengths
        if self.task.input is InputKind.TOKENS:
            words = torch.randint(1, WORDS, mask.shape, generator=self.generator)
            return words * mask, mask
        return torch.randn(*mask.shape, 2, generator=self.generator) * mask.unsqueeze(-1), mask

    def __getitems__(self, indices: list[int]) -> Batch:
        x, mask, x2, mask2 = (part[indices] for part in (self.x, self.mask, self.x2, self.mask2))
        if self.task.output is OutputKind.REGRESS_SEQUENCE:
            return Batch(x, x.cumsum(1), mask, mask)
        if self.task.output is OutputKind.CLASSIFY_STEPS:
            every_other = torch.arange(x.shape[1]) % 2 == 0
            return Batch(
                x, (x > WORDS // 2).long(), mask, mask & every_other, group=(mask.sum(1) > x.shape[1] // 2).long()
            )
        if self.task.output is OutputKind.CLASSIFY_PAIR:
            return Batch(x, (x[:, 0] > x2[:, 0]).long(), mask, None, x2, mask2)
        first = x[:, 0] if self.task.input is InputKind.TOKENS else x[:, 0, 0]
        return Batch(x, (first > (WORDS // 2 if self.task.input is InputKind.TOKENS else 0)).long(), mask)
