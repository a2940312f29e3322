"""Properties of the mixer contract that need the compiler or several processes. Mixers are named, not passed."""

import multiprocessing
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch import distributed as dist

from lra_bench.core.mixer import SequenceMixer
from lra_bench.core.registry import MODELS
from lra_bench.testing.mixer import MixerCase, MixerCheck, assert_close

RANKS = 2
TIMEOUT = 60.0
"""Seconds that the processes of one check have."""


def heavy_checks(name: str) -> tuple[MixerCheck, ...]:
    """The properties, for a model by its registered name or path."""
    return (
        MixerCheck("torch.compile equals eager", _compiled),
        MixerCheck("data-parallel gradients", partial(_data_parallel, name=name)),
    )


def case_of(name: str) -> MixerCase:
    """The case of a model with its default config."""
    return MixerCase.of(MODELS.load(name, SequenceMixer), d_model=4, max_len=64)


def _compiled(case: MixerCase) -> str | None:
    """Traced and differentiated by the compiler; no code is generated, so no C compiler is needed."""
    mixer = case.exact()
    expected = _gradients(mixer, mixer, case.input())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(mixer, backend="aot_eager")
        try:
            found = _gradients(compiled, mixer, case.input())
        except torch._dynamo.exc.TorchDynamoException as error:
            return f"does not compile ({type(error).__name__})"
        finally:
            torch.compiler.reset()
    for name, gradient in expected.items():
        assert_close(found[name], gradient, f"the gradient of {name} differs")
    return None


def _data_parallel(case: MixerCase, name: str) -> None:
    """Two processes with half of a batch each, their gradients averaged, are one process with all of it."""
    mixer = case.exact()
    expected = _gradients(mixer, mixer, case.input())
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        ranks = [context.Process(target=_one_rank, args=(rank, name, folder)) for rank in range(RANKS)]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join(TIMEOUT)
            process.kill()
        codes = [process.exitcode for process in ranks]
        assert codes == [0] * RANKS, f"the processes ended with exit codes {codes}"
        found = torch.load(Path(folder) / "gradients", weights_only=True)
    for parameter, gradient in expected.items():
        assert_close(found[parameter], gradient, f"the gradient of {parameter} differs")


def _one_rank(rank: int, name: str, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=RANKS)
    case = case_of(name)
    mixer = case.exact()
    parallel = nn.parallel.DistributedDataParallel(mixer)
    gradients = _gradients(parallel, mixer, case.input()[rank::RANKS])
    if rank == 0:
        torch.save(gradients, Path(folder) / "gradients")
    dist.barrier()
    dist.destroy_process_group()


def _gradients(run: Callable[[Tensor], Tensor], owner: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Gradients of the mean square of the output, by the owner's parameter names."""
    owner.zero_grad()
    run(x).square().mean().backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.clone() for name, p in owner.named_parameters() if p.grad is not None}
