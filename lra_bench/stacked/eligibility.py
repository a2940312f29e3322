"""Which trials may share a program."""

import hashlib
import json
import warnings
from dataclasses import asdict

import torch
from torch import Tensor

from lra_bench.building import build_net, build_task, default_precision, real_dtype
from lra_bench.config.schema import Config
from lra_bench.core.batch import Batch
from lra_bench.nn.backbone import Backbone
from lra_bench.stacked.network import StackedNet

PROBED_STEPS = 64
"""Steps of the sequence on which a network is tried."""

_probed: dict[str, str | None] = {}


def refusal(config: Config) -> str | None:
    """Why a trial cannot be one of several in a program; None if it can.

    The settings are looked at first, then a pair of networks is tried on the beginning of a training example.
    """
    train = config.train
    reasons = {
        "it trains on several devices": train.devices > 1 or train.strategy != "auto",
        "it splits its batches (train.accumulate)": train.accumulate > 1,
        "it is compiled (train.compile)": train.compile,
        "it has mixed precision (train.precision)": train.precision == "bf16-mixed",
        "its weights are computed (optim.name=least_squares)": config.optim.name == "least_squares",
        "it has dropout": config.backbone.dropout > 0,
        "it has batch normalisation": config.backbone.norm == "batch",
        "it is logged to W&B (tracking.wandb)": config.tracking.wandb in ("online", "offline"),
    }
    for reason, holds in reasons.items():
        if holds:
            return reason
    key = stack_key(config)
    if key not in _probed:
        _probed[key] = _failure_of_a_pair(config)
    return _probed[key]


def stack_key(config: Config) -> str:
    """Equal for trials that may share a program: they differ in seeds and in numbers of the optimizer alone.

    Whether a gradient is clipped, and whether SGD has momentum, are operations and not numbers.
    """
    optim = config.optim
    content = {
        **{part: asdict(getattr(config, part)) for part in ("task", "model", "backbone", "train")},
        **{word: getattr(config, word) for word in ("track", "protocol")},
        "optimizer": optim.name,
        "clips": optim.grad_clip is not None,
        "momentum": optim.beta1 > 0 or optim.name != "sgd",
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _failure_of_a_pair(config: Config) -> str | None:
    """Why two networks cannot be computed as one, forward and backward."""
    try:
        task = build_task(config)
        with torch.random.fork_rng(devices=[]), default_precision(config), warnings.catch_warnings():
            warnings.filterwarnings("error", ".*batching rule.*", UserWarning)
            net = build_net(config, task.spec)
            example = task.decode(task.source("train").__getitems__([0])).in_precision(real_dtype(config))
            _try_pair(net, _beginning(example))
    except UserWarning:
        return "torch.vmap computes a part of it one trial at a time"
    except Exception as error:  # whatever it is, alone the trial runs, or says what is wrong with it
        reason = " ".join(str(error).split()).partition(". ")[0]
        return f"torch.vmap cannot compute it ({type(error).__name__}: {reason})"
    return None


def _try_pair(net: Backbone, batch: Batch) -> None:
    """Compute two copies of a network as one, with different weights, on one batch and on one each."""
    pair = StackedNet([net, net], torch.device("cpu"))
    own = Batch._make(None if part is None else torch.stack([part, part]) for part in batch)
    for each, of_each in ((batch, False), (own, True)):
        outputs = pair(each, of_each, training=True)
        torch.autograd.grad(outputs.sum(), list(pair.parameters.values()), allow_unused=True)


def _beginning(batch: Batch) -> Batch:
    """The first steps of what a network reads."""

    def cut(part: Tensor | None) -> Tensor | None:
        return None if part is None else part[:, :PROBED_STEPS]

    x = batch.x[:, :PROBED_STEPS]
    return batch._replace(x=x, mask=cut(batch.mask), x2=cut(batch.x2), mask2=cut(batch.mask2))
