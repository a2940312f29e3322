"""The whole config of one trial."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lra_bench.core.settings import BackboneConfig, OptimConfig, TrackingConfig, TrainConfig, require


@dataclass(frozen=True)
class Config:
    """Everything that defines a trial. `task` and `model` hold the `Config` of the task and mixer they name.

    Attributes:
        task: knobs of the task; a subclass of `TaskConfig`.
        model: knobs of the mixer; a subclass of `MixerConfig`.
        backbone: the network around the mixers.
        optim: optimizer and schedule.
        train: budget, cadence, device.
        tracking: W&B.
        seed: of initialisation, dropout and example order.
        data_seed: of generated data and fixed splits.
        track: uniform, one setting for all models; recipe, each model's own published one.
        protocol: clean, three disjoint splits; legacy, what published code did.
        recipe: "<task>/<model>" of the recipe in use, or null.
        study: groups trials; names their folder.
        out_dir: where studies are written.
    """

    task: Any = None
    model: Any = None
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    seed: int = 0
    data_seed: int = 0
    track: Literal["uniform", "recipe"] = "uniform"
    protocol: Literal["clean", "legacy"] = "clean"
    recipe: str | None = None
    study: str = "train"
    out_dir: str = "runs"

    def __post_init__(self) -> None:
        require(self.seed >= 0, "seed", "zero or more", self.seed)
        require(self.data_seed >= 0, "data_seed", "zero or more", self.data_seed)
        plain = self.study not in ("", ".", "..") and "/" not in self.study
        require(plain, "study", "a plain folder name", repr(self.study))
        whole = self.backbone.norm != "batch" or self.train.accumulate == 1
        wanted = "1 with backbone.norm=batch, whose statistics are those of the whole batch"
        require(whole, "train.accumulate", wanted, self.train.accumulate)
        if self.optim.name == "least_squares":
            self._require_least_squares()

    def _require_least_squares(self) -> None:
        """One network, one device, plain arithmetic."""
        why = "with optim.name=least_squares"
        for key in ("devices", "accumulate"):
            require(getattr(self.train, key) == 1, f"train.{key}", f"1 {why}", getattr(self.train, key))
        require(self.train.strategy == "auto", "train.strategy", f"auto {why}", self.train.strategy)
        require(not self.train.compile, "train.compile", f"false {why}", self.train.compile)
        precise = self.train.precision != "bf16-mixed"
        require(precise, "train.precision", f"32-true or 64-true {why}", self.train.precision)
        require(self.backbone.dropout == 0, "backbone.dropout", f"0 {why}", self.backbone.dropout)

    def to_dict(self) -> dict[str, Any]:
        """Nested plain types, as written to `config.yaml` and into the record."""
        return asdict(self)
