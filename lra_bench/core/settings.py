"""The settings that the rooms share: network, optimizer, training, tracking. Composed into one config by `config`.

Every class checks its own values and raises `ConfigError` naming the full key.
"""

from dataclasses import dataclass
from typing import Literal

from lra_bench.core.errors import ConfigError

NOT_RESULT_RELEVANT = (
    "study",
    "out_dir",
    "tracking",
    "train.eval_batch_size",
    "train.accelerator",
    "train.devices",
    "train.strategy",
    "train.accumulate",
    "train.threads",
    "train.workers",
    "train.data_on_device",
    "train.time_limit",
)
"""Dotted keys and sections that change where and how fast a trial runs, but not which trial it is."""


def require(condition: bool, key: str, wanted: str, value: object) -> None:
    """Raise a `ConfigError` that names the key, what it must be, and what it was."""
    if not condition:
        raise ConfigError(f"{key} must be {wanted}, got {value}")


@dataclass(frozen=True)
class TaskConfig:
    """Knobs of a task, the `task.*` part of a config. Subclass as a frozen dataclass.

    Attributes:
        name: under which the task was asked for; the framework fills it in.
    """

    name: str = ""


@dataclass(frozen=True)
class BackboneConfig:
    """The network around the mixers.

    Attributes:
        d_model: channels between encoder and head. With the identity encoder it is the task's input size.
        depth: number of blocks.
        encoder: auto is an embedding for tokens and a linear map for continuous input; identity is none.
        head: linear, or identity where the last block already has the task's output size.
        norm: kind of normalisation in a block.
        prenorm: normalise before the mixer, else after the residual sum.
        activation: after the mixer.
        glu: a gated linear unit (Linear to 2 d, a * sigmoid(b)) after the activation.
        residual: add the block's input to its output.
        dropout: probability, after the activation and after the GLU.
        pooling: over real time steps, for tasks with one answer per sequence.
        causal: a mixer's output may depend on no later input; false lets mixers that can look ahead do so.
        directions: one; or run each mixer over the reversed sequence too, with the same weights (tied) or its own
            (separate), and add the two.
    """

    d_model: int = 128
    depth: int = 4
    encoder: Literal["auto", "identity"] = "auto"
    head: Literal["linear", "identity"] = "linear"
    norm: Literal["layer", "batch", "none"] = "layer"
    prenorm: bool = True
    activation: Literal["gelu", "relu", "silu", "identity"] = "gelu"
    glu: bool = True
    residual: bool = True
    dropout: float = 0.0
    pooling: Literal["mean", "last"] = "mean"
    causal: bool = True
    directions: Literal["one", "tied", "separate"] = "one"

    def __post_init__(self) -> None:
        require(self.d_model >= 1, "backbone.d_model", "at least 1", self.d_model)
        require(self.depth >= 1, "backbone.depth", "at least 1", self.depth)
        require(0 <= self.dropout < 1, "backbone.dropout", "in [0, 1)", self.dropout)


@dataclass(frozen=True)
class OptimConfig:
    """Optimizer and schedule.

    Attributes:
        name: of the optimizer. SGD has momentum `beta1`. After each step of least_squares, weights are those with the
            least squared error over all examples so far; outputs must be linear in them, as with stu on lds.
        lr: peak learning rate; parameters with a hint use a multiple of it. least_squares ignores it.
        weight_decay: decoupled for adamw, L2 otherwise.
        beta1: first Adam coefficient, or momentum.
        beta2: second Adam coefficient.
        schedule: constant, or linear warm-up then cosine to `lr_floor`.
        warmup_steps: linear from `lr_floor` to `lr`, under either schedule.
        lr_floor: where a warm-up starts and the cosine ends.
        grad_clip: largest global gradient norm; null does not clip.
    """

    name: Literal["adam", "adamw", "sgd", "least_squares"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = 0
    lr_floor: float = 1e-7
    grad_clip: float | None = None

    def __post_init__(self) -> None:
        require(self.lr > 0, "optim.lr", "positive", self.lr)
        require(self.weight_decay >= 0, "optim.weight_decay", "zero or more", self.weight_decay)
        require(0 <= self.beta1 < 1, "optim.beta1", "in [0, 1)", self.beta1)
        require(0 <= self.beta2 < 1, "optim.beta2", "in [0, 1)", self.beta2)
        require(self.warmup_steps >= 0, "optim.warmup_steps", "zero or more", self.warmup_steps)
        require(self.lr_floor >= 0, "optim.lr_floor", "zero or more", self.lr_floor)
        require(
            self.grad_clip is None or self.grad_clip > 0,
            "optim.grad_clip",
            "positive or null",
            self.grad_clip,
        )
        if self.name == "least_squares":
            for key, plain in (("weight_decay", 0), ("schedule", "constant"), ("warmup_steps", 0), ("grad_clip", None)):
                value = getattr(self, key)
                wanted = f"{'null' if plain is None else plain} with optim.name=least_squares"
                require(value == plain, f"optim.{key}", wanted, value)


@dataclass(frozen=True)
class TrainConfig:
    """How long, how often, on what.

    Attributes:
        max_steps: optimizer steps.
        global_batch_size: examples per optimizer step.
        eval_batch_size: examples per evaluation step; does not change any number.
        val_every: steps between validations; a checkpoint is written after each.
        log_every: steps between points of the training curve, each the mean loss since the last.
        precision: of the arithmetic; parameters stay float32 under bf16-mixed.
        accelerator: where to run.
        devices: processes that train together, each on a device of its own with an equal share of every batch.
        strategy: auto is ddp where there are several devices.
        accumulate: micro-batches that each device splits its share into, one after the other, to save memory.
        compile: use torch.compile on the network, where that works; where it fails, training goes on without.
        threads: CPU threads; null leaves torch's default.
        workers: processes that prepare batches; 0 prepares them in the training process.
        data_on_device: keep the examples of prepared tasks on the device; auto does so on a GPU where those of a split
            take at most a quarter of its free memory. The order of examples is the same.
        time_limit: seconds of training over all interruptions, after which the trial ends as `timeout`.
        chance_steps: end the trial as `chance` if it has learnt nothing by this step; null looks at the end only.
        diverge_factor: a loss beyond this multiple of the first one ends the trial as `diverged`.
    """

    max_steps: int = 1000
    global_batch_size: int = 32
    eval_batch_size: int = 64
    val_every: int = 100
    log_every: int = 10
    precision: Literal["32-true", "64-true", "bf16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1
    strategy: Literal["auto", "ddp"] = "auto"
    accumulate: int = 1
    compile: bool = False
    threads: int | None = None
    workers: int = 0
    data_on_device: Literal["auto", True, False] = "auto"
    time_limit: float | None = None
    chance_steps: int | None = None
    diverge_factor: float = 1e6

    def __post_init__(self) -> None:
        for key in (
            "max_steps",
            "global_batch_size",
            "eval_batch_size",
            "val_every",
            "log_every",
            "devices",
            "accumulate",
        ):
            require(getattr(self, key) >= 1, f"train.{key}", "at least 1", getattr(self, key))
        for key in ("threads", "time_limit", "chance_steps"):
            value = getattr(self, key)
            require(value is None or value > 0, f"train.{key}", "positive or null", value)
        require(self.workers >= 0, "train.workers", "zero or more", self.workers)
        require(self.diverge_factor > 1, "train.diverge_factor", "above 1", self.diverge_factor)
        self._require_equal_parts()

    def _require_equal_parts(self) -> None:
        """The batch of a step is the same whatever it is split into, so the parts must be equal."""
        size, parts = self.global_batch_size, self.devices * self.accumulate
        if size % parts == 0:
            return
        fitting = [number for number in range(1, size + 1) if size % number == 0]
        near = [n for n in fitting if n < parts][-1:] + [n for n in fitting if n > parts][:1]
        raise ConfigError(
            f"train.global_batch_size={size} does not split into train.devices={self.devices} times "
            f"train.accumulate={self.accumulate} equal parts; devices times accumulate may be "
            f"{' or '.join(map(str, near))}"
        )


@dataclass(frozen=True)
class TrackingConfig:
    """Where else a trial is logged.

    Attributes:
        wandb: auto is online where a login is found and off elsewhere.
        project: of the W&B runs.
    """

    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    project: str = "lra-bench"
