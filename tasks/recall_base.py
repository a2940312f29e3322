"""What the recall tasks share: mixed difficulties, padding, splits and trivial predictors."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch

from lra_bench.core.batch import Batch
from lra_bench.core.settings import TaskConfig, require
from lra_bench.core.specs import InputKind, OutputKind, TaskSpec
from lra_bench.data.datamodule import SequenceDataModule, Source, Split
from lra_bench.tasks.recall_examples import Example, draw_for_split

STREAMS = {"train": 1, "val": 2, "test": 3}
"""Second word of the seed of every random stream; the first is the data seed, the third an example's index."""


@dataclass(frozen=True)
class RecallConfig(TaskConfig):
    """What every recall task has. A subclass names the field that holds its difficulties, and their smallest value.

    Attributes:
        val_size: validation examples, the same number of each difficulty.
        test_size: test examples, the same number of each difficulty.
    """

    val_size: int = 512
    test_size: int = 1024

    difficulty: ClassVar[str]
    least: ClassVar[int]

    @property
    def levels(self) -> tuple[int, ...]:
        """The difficulties, rising."""
        levels: tuple[int, ...] = getattr(self, self.difficulty)
        return levels

    def __post_init__(self) -> None:
        levels, key = self.levels, f"task.{self.difficulty}"
        rising = bool(levels) and list(levels) == sorted(set(levels)) and levels[0] >= self.least
        require(rising, key, f"a list of rising numbers from {self.least} on", list(levels))
        for size in ("val_size", "test_size"):
            value = getattr(self, size)
            wanted = f"a positive multiple of {len(levels)}, how many {key} there are"
            require(value >= 1 and value % len(levels) == 0, f"task.{size}", wanted, value)


class RecallTask(SequenceDataModule):
    """A generated task in several difficulties, or levels; an endless training stream, fixed validation and test sets.

    Example i of a split has level i modulo their number, so that every split has the same share of each, and is a
    function of (data seed, split, i) alone. No sequence is in two splits. Shorter sequences are padded on the right.
    """

    VERSION = 1
    cfg: RecallConfig
    reference: ClassVar[str]
    """Where the task is defined."""
    axis: ClassVar[str]
    """What a level is, in the names of the groups."""

    @abstractmethod
    def steps(self, level: int) -> int:
        """Length of the sequences of a level."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, level: int) -> Example:
        """One example of a level."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the levels."""
        return tuple(f"{self.axis}_{level}" for level in self.cfg.levels)

    @property
    def seq_len(self) -> int:
        """Steps of the longest sequence."""
        return max(map(self.steps, self.cfg.levels))

    def source(self, split: Split) -> Source:
        """The examples of a split."""
        return RecallSource(self, split)

    def parts(self) -> dict[str, slice]:
        """All examples of a split and those of each level: where they stand, by what is added to a metric's name."""
        count = len(self.groups)
        return {"": slice(None)} | {f"/{group}": slice(place, None, count) for place, group in enumerate(self.groups)}

    @cached_property
    def test_examples(self) -> list[Example]:
        """The whole test set."""
        return self.examples("test", range(self.cfg.test_size))

    def examples(self, split: Split, indices: Sequence[int]) -> list[Example]:
        """Some examples of a split, not padded."""
        return [self._example(split, index) for index in indices]

    def _example(self, split: Split, index: int) -> Example:
        level = self.cfg.levels[index % len(self.cfg.levels)]
        rng = np.random.default_rng([self.data_seed, STREAMS[split], index])
        return draw_for_split(lambda: self.draw(rng, level), split)


class RecallSource(Source):
    """One split. The training split is made on demand; the others are made once and kept."""

    def __init__(self, task: RecallTask, split: Split) -> None:
        self.task = task
        self.split = split
        self.size = {"train": None, "val": task.cfg.val_size, "test": task.cfg.test_size}[split]

    @cached_property
    def _kept(self) -> Batch:
        assert self.size is not None
        made = self.task.test_examples if self.split == "test" else self.task.examples(self.split, range(self.size))
        return self._padded(made, range(self.size))

    def __getitems__(self, indices: list[int]) -> Batch:
        if self.size is None:
            return self._padded(self.task.examples(self.split, indices), indices)
        return self._kept.select(indices)

    def _padded(self, examples: list[Example], indices: Sequence[int]) -> Batch:
        """A batch, each sequence as long as the task's longest."""
        shape = len(examples), self.task.seq_len
        x = np.zeros((*shape, *examples[0].x.shape[1:]), dtype=examples[0].x.dtype)
        y = np.zeros((*shape, *examples[0].targets.shape[1:]), dtype=examples[0].targets.dtype)
        mask, y_mask = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        for row, example in enumerate(examples):
            x[row, : len(example.x)] = example.x
            mask[row, : len(example.x)] = True
            y[row, example.steps] = example.targets
            y_mask[row, example.steps] = True
        one_length = len(set(map(self.task.steps, self.task.cfg.levels))) == 1
        return Batch(
            x=torch.from_numpy(x),
            y=torch.from_numpy(y),
            mask=None if one_length else torch.from_numpy(mask),
            y_mask=torch.from_numpy(y_mask),
            group=torch.tensor(indices) % len(self.task.groups),
        )


class TokenRecall(RecallTask):
    """A recall task of tokens, that asks at some steps for one of several equally likely classes."""

    pad_id: ClassVar[int | None]
    """Token of padding; None where all sequences are equally long."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Tokens."""

    @property
    @abstractmethod
    def n_classes(self) -> int:
        """Answers."""

    @property
    def spec(self) -> TaskSpec:
        """The contract; chance is the accuracy of a constant answer, in the mean."""
        return TaskSpec(
            name=self.cfg.name,
            version=self.VERSION,
            input=InputKind.TOKENS,
            output=OutputKind.CLASSIFY_STEPS,
            seq_len=self.seq_len,
            input_size=self.vocab_size,
            output_size=self.n_classes,
            metric="accuracy",
            higher_is_better=True,
            chance=1 / self.n_classes,
            chance_margin=0.05,
            train_size=None,
            val_size=self.cfg.val_size,
            test_size=self.cfg.test_size,
            source=f"generated ({self.reference})",
            licence="none needed",
            pad_id=self.pad_id,
            groups=self.groups,
        )

    def baselines(self) -> dict[str, dict[str, float]]:
        """Test accuracies of predictors that recall nothing, or not enough.

        majority always gives the most frequent answer of the test set. unordered, where more than one thing is asked
        in a sequence, knows the answers but not which belongs where, and always gives the most frequent of them.
        """
        answers = [example.targets for example in self.test_examples]
        frequent = np.bincount(np.concatenate(answers)).argmax()
        hits = {"majority": [int((own == frequent).sum()) for own in answers]}
        if any(len(own) > 1 for own in answers):
            hits["unordered"] = [int(np.bincount(own).max()) for own in answers]
        asked = [len(own) for own in answers]
        return {name: self._accuracies(found, asked) for name, found in hits.items()}

    def _accuracies(self, hits: list[int], asked: list[int]) -> dict[str, float]:
        """Accuracies from the counts of each test example."""
        return {f"accuracy{end}": sum(hits[part]) / sum(asked[part]) for end, part in self.parts().items()}
