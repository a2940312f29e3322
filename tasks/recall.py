"""The recall tasks: copying, selective copying, adding, induction heads, associative recall.

In each, one number makes it hard to remember: the difficulty. One model learns all difficulties at once, and its record
holds the metric at each of them.
"""

from dataclasses import dataclass

import numpy as np

from lra_bench.core.settings import require
from lra_bench.core.specs import InputKind, OutputKind, TaskSpec
from lra_bench.tasks import recall_examples as examples
from lra_bench.tasks.recall_base import RecallConfig, RecallTask, TokenRecall
from lra_bench.tasks.recall_examples import Example


@dataclass(frozen=True)
class CopyingConfig(RecallConfig):
    """Symbols and their number are the paper's; its delays are 100, 200, 300 and 500.

    Attributes:
        symbols: different symbols.
        memory: symbols to repeat.
        delays: steps from the last symbol to the marker.
    """

    symbols: int = 8
    memory: int = 10
    delays: tuple[int, ...] = (10, 20, 40, 80)

    difficulty = "delays"
    least = 1

    def __post_init__(self) -> None:
        require(self.symbols >= 2, "task.symbols", "at least 2", self.symbols)
        require(self.memory >= 1, "task.memory", "at least 1", self.memory)
        super().__post_init__()


class Copying(TokenRecall):
    """The copying memory problem: repeat the first symbols, in order, after a delay.

    Follows Arjovsky, Shah and Bengio, "Unitary Evolution Recurrent Neural Networks", arXiv 1511.06464, and
    memory_problem.py of amarshah/complex_RNN. Differences: there, each delay is trained on alone, and the blanks before
    the answers are asked for too; here only the answers count. Licence: none needed.
    """

    Config = CopyingConfig
    cfg: CopyingConfig
    reference = "arXiv 1511.06464"
    axis = "delay"
    pad_id = examples.PAD

    @property
    def vocab_size(self) -> int:
        """Padding, blank, marker and symbols."""
        return examples.FIRST_SYMBOL + self.cfg.symbols

    @property
    def n_classes(self) -> int:
        """The symbols."""
        return self.cfg.symbols

    def steps(self, level: int) -> int:
        """Symbols, delay, answers."""
        return 2 * self.cfg.memory + level

    def draw(self, rng: np.random.Generator, level: int) -> Example:
        """See `recall_examples.copying`."""
        return examples.copying(rng, self.cfg.symbols, self.cfg.memory, delay=level)


@dataclass(frozen=True)
class SelectiveCopyingConfig(RecallConfig):
    """The number of tokens is the paper's, with blank and marker among its 16; it repeats 16 symbols at length 4096.

    Attributes:
        symbols: different symbols.
        memory: symbols to repeat.
        lengths: steps over which they are scattered.
    """

    symbols: int = 14
    memory: int = 8
    lengths: tuple[int, ...] = (16, 32, 64, 128)

    difficulty = "lengths"
    least = 1

    def __post_init__(self) -> None:
        require(self.symbols >= 2, "task.symbols", "at least 2", self.symbols)
        require(self.memory >= 1, "task.memory", "at least 1", self.memory)
        super().__post_init__()
        fits = self.memory <= self.lengths[0]
        require(fits, "task.memory", f"at most {self.lengths[0]}, the first of task.lengths", self.memory)


class SelectiveCopying(TokenRecall):
    """Repeat symbols, in order, that stand at random places among blanks.

    Follows Gu and Dao, "Mamba", arXiv 2312.00752, section 4.1.1 and appendix E.1, and torch_copying_data with
    variable=True of state-spaces/s4. Difference: there, one length is trained on. Licence: none needed.
    """

    Config = SelectiveCopyingConfig
    cfg: SelectiveCopyingConfig
    reference = "arXiv 2312.00752, section 4.1.1"
    axis = "length"
    pad_id = examples.PAD

    @property
    def vocab_size(self) -> int:
        """Padding, blank, marker and symbols."""
        return examples.FIRST_SYMBOL + self.cfg.symbols

    @property
    def n_classes(self) -> int:
        """The symbols."""
        return self.cfg.symbols

    def steps(self, level: int) -> int:
        """Where the symbols are scattered, and the answers."""
        return level + self.cfg.memory

    def draw(self, rng: np.random.Generator, level: int) -> Example:
        """See `recall_examples.selective_copying`."""
        return examples.selective_copying(rng, self.cfg.symbols, self.cfg.memory, length=level)


@dataclass(frozen=True)
class AddingConfig(RecallConfig):
    """The papers have lengths from 100 to 1000.

    Attributes:
        lengths: steps.
    """

    lengths: tuple[int, ...] = (25, 50, 100, 200)

    difficulty = "lengths"
    least = 2


class Adding(RecallTask):
    """The adding problem: at the last step, the sum of the two marked numbers of a long sequence.

    Of Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997), in the form of Arjovsky, Shah and Bengio, arXiv
    1511.06464, and adding_problem.py of amarshah/complex_RNN: numbers are uniform on [0, 1), one in each half is
    marked, and always predicting 1 has an error of 1/6. Differences: in 1997 numbers were from [-1, 1], the first two
    marked were in the first half, the first and the last step were marked -1, the target was 0.5 + sum / 4, and lengths
    varied by a tenth; in both, each length is trained on alone. Licence: none needed.
    """

    Config = AddingConfig
    cfg: AddingConfig
    reference = "arXiv 1511.06464"
    axis = "length"

    @property
    def spec(self) -> TaskSpec:
        """The contract; chance is the error of always predicting 1."""
        return TaskSpec(
            name=self.cfg.name,
            version=self.VERSION,
            input=InputKind.CONTINUOUS,
            output=OutputKind.REGRESS_SEQUENCE,
            seq_len=self.seq_len,
            input_size=2,
            output_size=1,
            metric="mse",
            higher_is_better=False,
            chance=1 / 6,
            chance_margin=0.02,
            train_size=None,
            val_size=self.cfg.val_size,
            test_size=self.cfg.test_size,
            source=f"generated ({self.reference})",
            licence="none needed",
            groups=self.groups,
        )

    def steps(self, level: int) -> int:
        """The length."""
        return level

    def draw(self, rng: np.random.Generator, level: int) -> Example:
        """See `recall_examples.adding`."""
        return examples.adding(rng, length=level)

    def baselines(self) -> dict[str, dict[str, float]]:
        """Test errors of always predicting the mean, 1."""
        sums = np.concatenate([example.targets for example in self.test_examples]).astype(np.float64)
        found = {}
        for end, part in self.parts().items():
            mse = float(np.mean((sums[part] - 1) ** 2))
            found |= {f"mse{end}": mse, f"nmse{end}": mse / float(np.var(sums[part]))}
        return {"mean": found}


@dataclass(frozen=True)
class InductionHeadsConfig(RecallConfig):
    """The number of tokens is that of arXiv 2312.00752, which trains on length 256 and tests on 64 to 1,048,576.

    Attributes:
        symbols: ordinary tokens, beside the trigger.
        lengths: steps.
    """

    symbols: int = 15
    lengths: tuple[int, ...] = (16, 32, 64, 128)

    difficulty = "lengths"
    least = 3

    def __post_init__(self) -> None:
        require(self.symbols >= 2, "task.symbols", "at least 2", self.symbols)
        super().__post_init__()


class InductionHeads(TokenRecall):
    """At the last step a trigger comes for the second time: give the token that followed it the first time.

    Of Olsson et al., "In-context Learning and Induction Heads" (2022), as a task by Fu et al., "Hungry Hungry Hippos",
    arXiv 2212.14052, and generate_induction_head of HazyResearch/safari; also in Gu and Dao, arXiv 2312.00752, section
    4.1.2. Differences: in safari all tokens are predicted while training, here only the last; there, at least one token
    stands between the two pairs; and there one length is trained on. Licence: none needed.
    """

    Config = InductionHeadsConfig
    cfg: InductionHeadsConfig
    reference = "arXiv 2212.14052"
    axis = "length"
    pad_id = examples.PAD

    @property
    def vocab_size(self) -> int:
        """Padding, trigger and ordinary tokens."""
        return examples.FIRST_ORDINARY + self.cfg.symbols

    @property
    def n_classes(self) -> int:
        """The ordinary tokens."""
        return self.cfg.symbols

    def steps(self, level: int) -> int:
        """The length."""
        return level

    def draw(self, rng: np.random.Generator, level: int) -> Example:
        """See `recall_examples.induction_heads`."""
        return examples.induction_heads(rng, self.cfg.symbols, length=level)


@dataclass(frozen=True)
class AssociativeRecallConfig(RecallConfig):
    """Length, and pairs from 4 on, are the first ones of its code; its 8192 tokens would be slow to learn.

    Attributes:
        vocab_size: tokens; keys are the lower half but one, values the upper half.
        seq_len: steps, the same for any number of pairs.
        pairs: keys to remember, each with its value; all are asked for.
    """

    vocab_size: int = 128
    seq_len: int = 64
    pairs: tuple[int, ...] = (2, 4, 8, 16)

    difficulty = "pairs"
    least = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        most = self.pairs[-1]
        require(self.seq_len % 2 == 0, "task.seq_len", "even", self.seq_len)
        require(self.seq_len >= 4 * most, "task.seq_len", f"at least {4 * most}, 4 for each pair", self.seq_len)
        room = self.vocab_size // 2 > most
        require(room, "task.vocab_size", f"at least {2 * most + 2}, to hold all keys and values", self.vocab_size)


class AssociativeRecall(TokenRecall):
    """Multi-query associative recall: key-value pairs, then each key once more, at which its value is asked for.

    Follows Arora et al., "Zoology", arXiv 2312.04927, and zoology/data/multiquery_ar.py of HazyResearch/zoology, with
    random_non_queries=False and one pass. Differences: there, all tokens are possible answers, here the values are; and
    numbers of pairs are mixed in equal shares. Accuracy counts every query alike. Licence: none needed.
    """

    Config = AssociativeRecallConfig
    cfg: AssociativeRecallConfig
    reference = "arXiv 2312.04927"
    axis = "pairs"
    pad_id = None

    @property
    def vocab_size(self) -> int:
        """Filler, keys and values."""
        return self.cfg.vocab_size

    @property
    def n_classes(self) -> int:
        """The values."""
        return self.cfg.vocab_size - self.cfg.vocab_size // 2

    def steps(self, level: int) -> int:
        """The same for all."""
        return self.cfg.seq_len

    def draw(self, rng: np.random.Generator, level: int) -> Example:
        """See `recall_examples.associative_recall`."""
        return examples.associative_recall(rng, self.cfg.vocab_size, self.cfg.seq_len, pairs=level)
