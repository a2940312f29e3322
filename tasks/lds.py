"""Task `lds`: predict the output of a random linear dynamical system from its inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from lra_bench.core.batch import Batch
from lra_bench.core.settings import TaskConfig, require
from lra_bench.core.specs import InputKind, OutputKind, TaskSpec
from lra_bench.data.datamodule import SequenceDataModule, Source, Split
from lra_bench.tasks.linear_systems import (
    COMPLEX_SPECTRA,
    ONE_SIGN,
    LinearSystem,
    Spectrum,
    draw_noise,
    draw_system,
    kalman_one_step,
    monic_chebyshev,
    output_variance,
    simulate,
)

STREAMS = {"system": 0, "train": 1, "val": 2, "test": 3}
"""Second word of the seed of every random stream; the first is the data seed, the third an example's index."""
BLOCK_NUMBERS = 2**18
"""Inputs, states and outputs of a block of examples: 2 MB of float64."""


@dataclass(frozen=True)
class LDSConfig(TaskConfig):
    """The system and its data; the defaults are the paper's system (arXiv 2312.06837, section 3).

    Attributes:
        d_in: inputs.
        d_state: states.
        d_out: outputs.
        spectrum: law of the eigenvalues of A, see `linear_systems.draw_eigenvalues`.
        stability: largest modulus of an eigenvalue.
        symmetric: A symmetric; a complex spectrum cannot be.
        process_noise: standard deviation of the noise on each state.
        observation_noise: standard deviation of the noise on each output.
        seq_len: steps.
        normalize: scale the outputs to unit variance (exact, from the system, not from data).
        delay: steps by which the outputs lag the inputs, on top of the system.
        precondition: n, the targets are y_t + c_1 y_{t-1} + ... + c_n y_{t-n} with the coefficients of the monic
            Chebyshev polynomial of degree n (arXiv 2502.06545), so errors are those of predicting y_t from the inputs
            and the last n true outputs; 0 leaves y_t as it is.
        val_size: validation sequences.
        test_size: test sequences.
    """

    d_in: int = 3
    d_state: int = 4
    d_out: int = 3
    spectrum: Spectrum = "real_marginal"
    stability: float = 0.9999
    symmetric: bool = True
    process_noise: float = 0.0
    observation_noise: float = 0.0
    seq_len: int = 512
    normalize: bool = False
    delay: int = 0
    precondition: int = 0
    val_size: int = 32
    test_size: int = 128

    def __post_init__(self) -> None:
        for key in ("d_in", "d_state", "d_out", "seq_len", "val_size", "test_size"):
            require(getattr(self, key) >= 1, f"task.{key}", "at least 1", getattr(self, key))
        for key in ("process_noise", "observation_noise"):
            require(getattr(self, key) >= 0, f"task.{key}", "zero or more", getattr(self, key))
        require(0 < self.stability <= 1, "task.stability", "in (0, 1]", self.stability)
        for key in ("delay", "precondition"):
            value = getattr(self, key)
            require(0 <= value < self.seq_len, f"task.{key}", "from 0 to below task.seq_len", value)
        if self.spectrum in ONE_SIGN:
            require(self.symmetric, "task.symmetric", f"true with spectrum {self.spectrum}", self.symmetric)
        if self.spectrum in COMPLEX_SPECTRA:
            require(not self.symmetric, "task.symmetric", f"false with spectrum {self.spectrum}", self.symmetric)
            require(self.d_state % 2 == 0, "task.d_state", f"even with spectrum {self.spectrum}", self.d_state)


class LDS(SequenceDataModule):
    """Gaussian inputs, squared loss; an endless training stream, fixed validation and test sets.

    The system is drawn from the data seed; example i of a split is a function of (data seed, split, i) alone.
    """

    Config = LDSConfig
    VERSION = 1
    cfg: LDSConfig

    @property
    def spec(self) -> TaskSpec:
        """The contract; chance is the error of predicting zero, in units of the outputs' variance."""
        cfg = self.cfg
        return TaskSpec(
            name=cfg.name,
            version=self.VERSION,
            input=InputKind.CONTINUOUS,
            output=OutputKind.REGRESS_SEQUENCE,
            seq_len=cfg.seq_len,
            input_size=cfg.d_in,
            output_size=cfg.d_out,
            metric="nmse",
            higher_is_better=False,
            chance=1.0,
            chance_margin=0.05,
            train_size=None,
            val_size=cfg.val_size,
            test_size=cfg.test_size,
            source="generated (arXiv 2312.06837, section 3)",
            licence="none needed",
        )

    def source(self, split: Split) -> Source:
        """The examples of a split."""
        return LDSSource(self, split)

    def baselines(self) -> dict[str, dict[str, float]]:
        """Test errors of predictors that bracket every model.

        zero_predictor predicts 0. With noise: noise_floor knows the true system and sees the inputs, as models do;
        kalman_given_past_outputs also sees the past noisy outputs, which models do not.
        """
        _, driving, y = self._simulated("test", range(self.cfg.test_size))
        target = self._targets(y)
        found = {"zero_predictor": self._errors(target, np.zeros_like(target))}
        if self.system.noisy:
            found["noise_floor"] = self._errors(target, self._targets(simulate(self.system, driving)))
            innovations = (y - kalman_one_step(self.system, driving, y)) * self.scale
            found["kalman_given_past_outputs"] = self._errors(target, target - innovations)
        return found

    @cached_property
    def system(self) -> LinearSystem:
        """The system that all sequences of this data seed come from."""
        cfg = self.cfg
        return draw_system(
            self._rng("system", 0),
            d_in=cfg.d_in,
            d_state=cfg.d_state,
            d_out=cfg.d_out,
            spectrum=cfg.spectrum,
            stability=cfg.stability,
            symmetric=cfg.symmetric,
            process_noise=cfg.process_noise,
            observation_noise=cfg.observation_noise,
        )

    @cached_property
    def scale(self) -> float:
        """Factor on the outputs."""
        return output_variance(self.system, self.cfg.seq_len) ** -0.5 if self.cfg.normalize else 1.0

    def examples(self, split: Split, indices: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Inputs (B, L, d_in) and targets (B, L, d_out) of some examples of a split, in float64."""
        u, _, y = self._simulated(split, indices)
        return u, self._targets(y)

    @property
    def block(self) -> int:
        """Training examples that are best simulated together: many, but few enough to stay in the processor's cache."""
        cfg = self.cfg
        return max(1, min(64, BLOCK_NUMBERS // (cfg.seq_len * (cfg.d_in + cfg.d_state + cfg.d_out))))

    def _simulated(
        self, split: Split, indices: Sequence[int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """What a model reads, what drives the system (the same, delayed), and what the system puts out."""
        generators = [self._rng(split, index) for index in indices]
        u = np.stack([rng.standard_normal((self.cfg.seq_len, self.cfg.d_in)) for rng in generators])
        driving = np.pad(u, ((0, 0), (self.cfg.delay, 0), (0, 0)))[:, : u.shape[1]] if self.cfg.delay else u
        noise = None
        if self.system.noisy:
            process, observation = zip(
                *(draw_noise(rng, self.system, self.cfg.seq_len) for rng in generators), strict=True
            )
            noise = np.stack(process), np.stack(observation)
        return u, driving, simulate(self.system, driving, noise)

    def _targets(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scaled outputs, preconditioned if asked for."""
        target = y.copy()
        for lag, coefficient in enumerate(monic_chebyshev(self.cfg.precondition)[1:], start=1):
            target[:, lag:] += coefficient * y[:, :-lag]
        return target * self.scale

    def _rng(self, stream: str, index: int) -> np.random.Generator:
        return np.random.default_rng([self.data_seed, STREAMS[stream], index])

    @staticmethod
    def _errors(y: NDArray[np.float64], prediction: NDArray[np.float64]) -> dict[str, float]:
        mse = float(np.mean((y - prediction) ** 2))
        return {"mse": mse, "nmse": mse / float(np.var(y))}


class LDSSource(Source):
    """One split. The training split is made on demand, some steps ahead; the others are made once and kept."""

    def __init__(self, task: LDS, split: Split) -> None:
        self.task = task
        self.split = split
        self.block = task.block
        self.size = {"train": None, "val": task.cfg.val_size, "test": task.cfg.test_size}[split]

    @cached_property
    def _kept(self) -> Batch:
        assert self.size is not None
        return self._make(range(self.size))

    def __getitems__(self, indices: list[int]) -> Batch:
        if self.size is None:
            return self._make(indices)
        return self._kept.select(indices)

    def batches(self, requests: Sequence[list[int]]) -> list[Batch]:
        """Several training batches from one simulation."""
        made = self.__getitems__([index for request in requests for index in request])
        ends = np.cumsum([len(request) for request in requests]).tolist()
        return [made.select(slice(end - len(request), end)) for request, end in zip(requests, ends, strict=True)]

    def _make(self, indices: Sequence[int]) -> Batch:
        u, y = self.task.examples(self.split, indices)
        return Batch(torch.from_numpy(u).float(), torch.from_numpy(y).float())
