from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lra_bench.core.settings import TrainConfig
from lra_bench.data.datamodule import StepSampler
from lra_bench.tasks.lds import LDS, LDSConfig

sizes = st.integers(1, 50)


@given(size=sizes, batch_size=sizes, seed=st.integers(0, 2**32), passes=st.integers(1, 3))
def test_each_pass_sees_every_example_once(size, batch_size, seed, passes):
    steps = -(-size * passes // batch_size)
    flat = [index for batch in islice(StepSampler(size, batch_size, seed), steps) for index in batch]
    for number in range(passes):
        assert sorted(flat[number * size : (number + 1) * size]) == list(range(size))


@given(size=st.none() | sizes, batch_size=sizes, seed=st.integers(0, 2**32), start=st.integers(0, 30))
def test_a_batch_depends_on_its_step_alone(size, batch_size, seed, start):
    from_zero = list(islice(StepSampler(size, batch_size, seed), start + 3))
    assert list(islice(StepSampler(size, batch_size, seed, start), 3)) == from_zero[start:]


def test_orders_differ_between_passes_and_seeds():
    first, second = islice(StepSampler(40, 40, seed=0), 2)
    (other,) = islice(StepSampler(40, 40, seed=1), 1)
    assert first != second
    assert first != other


@pytest.mark.parametrize("eval_batch_size", [1, 3, 7, 100])
def test_evaluation_sees_every_example_once_in_order(eval_batch_size):
    cfg = LDSConfig(name="lds", seq_len=8, val_size=7, test_size=5)
    task = LDS(cfg, 0, "clean", TrainConfig(eval_batch_size=eval_batch_size), 0)
    for split, loader in (("val", task.eval_loader("val")), ("test", task.eval_loader("test"))):
        seen = torch.cat([batch.x for batch in loader])
        assert torch.equal(seen, task.source(split).__getitems__(list(range(len(seen)))).x)
        assert len(seen) == task.source(split).size


@pytest.mark.parametrize("workers", [0, 2])
def test_reading_data_leaves_the_global_generator_alone(workers):
    task = LDS(LDSConfig(name="lds", seq_len=8), 0, "clean", TrainConfig(global_batch_size=3, workers=workers), 0)
    before = torch.get_rng_state()
    batches = list(islice(iter(task.train_loader()), 2))
    list(task.eval_loader("val"))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(batches[1].x, task.source("train").__getitems__([3, 4, 5]).x)
