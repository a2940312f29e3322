"""What a task promises, what a mixer is told, and how a parameter asks to be optimised.

Nothing here imports torch, so that listing and help stay quick.
"""

from dataclasses import dataclass
from enum import StrEnum


class InputKind(StrEnum):
    """What a model reads."""

    TOKENS = "tokens"
    CONTINUOUS = "continuous"


class OutputKind(StrEnum):
    """What a model predicts. Loss, head and metrics follow from this alone."""

    CLASSIFY = "classify"
    CLASSIFY_PAIR = "classify_pair"
    CLASSIFY_STEPS = "classify_steps"
    REGRESS_SEQUENCE = "regress_sequence"

    @property
    def per_step(self) -> bool:
        """Whether there is an output at every step, so that nothing is pooled."""
        return self in (OutputKind.CLASSIFY_STEPS, OutputKind.REGRESS_SEQUENCE)


@dataclass(frozen=True)
class TaskSpec:
    """A task's contract, known before any of its data exists.

    Attributes:
        name: id under which results are filed.
        version: raised whenever a change moves numbers; results of two versions never share a table.
        input: tokens, x is (B, L) int64; continuous, x is (B, L, input_dim) float32.
        output: what is predicted.
        seq_len: longest sequence, in steps.
        input_size: vocabulary size for tokens, channels for continuous input.
        output_size: classes, or channels of the predicted sequence.
        metric: primary metric, one of those its objective computes.
        higher_is_better: direction of `metric`.
        chance: value of `metric` that a trivial predictor reaches.
        chance_margin: a value that beats `chance` by less than this counts as not having learnt.
        train_size: training examples, or None for an endless stream.
        val_size: validation examples.
        test_size: test examples.
        source: where the data come from.
        licence: of the data.
        pad_id: token that fills short sequences, for token input.
        superseded_by: id of the task to use instead, if this one is retired.
        groups: names of kinds of examples, such as lengths, for which each metric is also given alone, as
            "<metric>/<group>"; a batch then says which group each example is in.
    """

    name: str
    version: int
    input: InputKind
    output: OutputKind
    seq_len: int
    input_size: int
    output_size: int
    metric: str
    higher_is_better: bool
    chance: float
    chance_margin: float
    train_size: int | None
    val_size: int
    test_size: int
    source: str
    licence: str
    pad_id: int | None = None
    superseded_by: str | None = None
    groups: tuple[str, ...] = ()

    def at_chance(self, value: float) -> bool:
        """Whether `value` of the primary metric does not beat the trivial predictor (NaN never does)."""
        gain = value - self.chance if self.higher_is_better else self.chance - value
        return not gain >= self.chance_margin

    def better(self, value: float, than: float | None) -> bool:
        """Whether `value` of the primary metric beats `than` (any number beats None; NaN beats nothing)."""
        if value != value:
            return False
        if than is None:
            return True
        return value > than if self.higher_is_better else value < than


@dataclass(frozen=True)
class MixerContext:
    """Where a mixer stands in the model.

    Attributes:
        d_model: channels of the input, (B, L, d_model).
        d_out: channels of the output, (B, L, d_out).
        max_len: longest sequence it will be given.
        layer_idx: its place in the stack, from 0.
        n_layers: depth of the stack.
        causal: output t may depend on inputs 0..t only.
    """

    d_model: int
    d_out: int
    max_len: int
    layer_idx: int = 0
    n_layers: int = 1
    causal: bool = True


@dataclass(frozen=True)
class OptimHint:
    """How one parameter of a mixer asks to be optimised.

    Attributes:
        lr_scale: multiplier of the swept learning rate.
        weight_decay: its own weight decay, or None for the configured one.
        lr_abs: a fixed rate that does not move with the sweep; refused outside the recipe track.
    """

    lr_scale: float = 1.0
    weight_decay: float | None = None
    lr_abs: float | None = None
