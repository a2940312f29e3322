"""What only a CUDA device can show; `make test-gpu` runs it."""

import pytest
import torch

from lra_bench.config.compose import compose
from lra_bench.core.mixer import SequenceMixer
from lra_bench.core.record import RunRecord
from lra_bench.core.registry import MODELS
from lra_bench.core.specs import MixerContext
from tests.conftest import TINY
from tests.test_cli import small

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("name", sorted(MODELS.entries()))
def test_outputs_and_gradients_are_those_of_the_cpu(name):
    cfg = compose(["task=lds", f"model={name}"]).config.model
    torch.manual_seed(0)
    mixer = MODELS.load(name, SequenceMixer)(cfg, MixerContext(16, 16, 257)).eval()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = torch.randn(2, 257, 16)
    found = {}
    for device in ("cpu", "cuda"):
        mixer.to(device).zero_grad()
        y = mixer(x.to(device))
        y.square().mean().backward()
        found[device] = [y.detach().cpu(), *(p.grad.cpu().clone() for p in mixer.parameters())]
    for on_cpu, on_gpu in zip(found["cpu"], found["cuda"], strict=True):
        assert (on_gpu - on_cpu).abs().max() <= 1e-3 * on_cpu.abs().max()


def test_a_trial_on_the_gpu_names_it(cli, folder):
    cli("train", "task=lds", "model=stu", small("stu"), *TINY, "train.accelerator=gpu")
    (path,) = folder.glob("runs/train/*/record.json")
    record = RunRecord.read(path)
    assert record.environment.device == torch.cuda.get_device_name(0)
    assert record.budget.peak_memory_mb > 0
