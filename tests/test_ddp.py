"""Several processes train one trial: the same batches, the same weights, one record, one end."""

from itertools import chain, islice

import pytest
import torch

from lra_bench import building
from lra_bench.config.compose import compose
from lra_bench.core.errors import ConfigError
from lra_bench.core.record import Status
from lra_bench.core.settings import TrainConfig
from lra_bench.data.datamodule import SequenceDataModule, StepSampler
from lra_bench.tasks.lds import LDS, LDSConfig
from tests.conftest import TINY
from tests.parallel_training import Case, Results, run_all

SMALL = (
    "train.accelerator=cpu",
    "train.threads=1",
    "train.precision=64-true",
    "train.max_steps=20",
    "train.val_every=10",
    "train.log_every=5",
    "train.global_batch_size=4",
    "backbone.d_model=8",
    "optim.lr=0.01",
)
TASKS = {
    "lds": ("task=lds", "task.seq_len=24", "task.val_size=7", "task.test_size=6"),
    "recall": (
        "task=associative_recall",
        "backbone.depth=2",
        "task.pairs=[1,2,4]",
        "task.vocab_size=10",
        "task.seq_len=24",
        "task.val_size=15",
        "task.test_size=12",
    ),
    "sparse": ("task=tests.parallel_training:Sparse", "backbone.depth=2"),
    "pairs": ("task=tests.toy_tasks:TokensPair", "backbone.depth=2"),
    "documents": ("task=tests.toy_tasks:Toy", "backbone.depth=2"),
}
MODELS = ("stu", "lru", "s4", "s4d", "s5", "transformer")
RAMP = ("task=lds", "model=tests.strangers:Ramp", *TINY, "train.accelerator=cpu", "train.threads=1")
CYCLE = (
    *RAMP,
    "optim.lr=0.05",
    "optim.schedule=cosine",
    "optim.warmup_steps=5",
    "train.global_batch_size=4",
    "train.max_steps=20",
    "train.val_every=4",
    "train.log_every=3",
)
SLURM = {
    "SLURM_NTASKS": "4",
    "SLURM_JOB_NAME": "sweep",
    "SLURM_JOB_ID": "1",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "3",
    "RANK": "3",
    "LOCAL_RANK": "3",
    "WORLD_SIZE": "4",
    "MASTER_ADDR": "nowhere.invalid",
    "MASTER_PORT": "1",
}


def alike(name: str, words: tuple[str, ...], *others: tuple[int, int]) -> list[Case]:
    """One trial in one process, and in other numbers of (processes, micro-batches): NAME-PROCESSES-MICRO_BATCHES."""
    return [
        Case(f"{name}-{ranks}-{accumulate}", (*SMALL, *words, f"train.accumulate={accumulate}"), ranks)
        for ranks, accumulate in ((1, 1), *others)
    ]


PARITY = {
    "lds-stu": ((*TASKS["lds"], "model=stu"), (2, 2)),
    "recall-lru": ((*TASKS["recall"], "model=lru", "optim.grad_clip=0.1"), (2, 1)),
    "recall-transformer": ((*TASKS["recall"], "model=transformer"), (1, 2)),
    "sparse-lru": ((*TASKS["sparse"], "model=lru"), (2, 2)),
    "sparse-batch-norm": ((*TASKS["sparse"], "model=s4d", "backbone.norm=batch"), (2, 1)),
}
PLAIN = (*SMALL, *TASKS["lds"], "model=stu")
FAULTS = [
    Case("alone", CYCLE),
    Case("ddp-alone", (*CYCLE, "train.strategy=ddp")),
    Case("under-slurm", CYCLE, environment=SLURM),
    Case("whole", CYCLE, 2),
    Case("asked", CYCLE, 2, fault="SIGTERM", at=(1, 10)),
    Case("asked-again", CYCLE, 2, folder="asked", environment=SLURM),
    Case("killed", CYCLE, 2, fault="kill", at=(1, 10)),
    Case("killed-again", CYCLE, 2, folder="killed"),
    Case("raised", CYCLE, 2, fault="raise", at=(1, 10)),
    Case("too-large", CYCLE, 2, fault="oom", at=(0, 10)),
    Case("diverged", (*CYCLE, "optim.lr=1e6", "optim.name=sgd", "optim.schedule=constant"), 2),
    Case("late", (*CYCLE, "train.time_limit=0.3", "model.pause=0.05"), 2),
    Case("one-then-two", PLAIN, fault="SIGTERM", at=(0, 7)),
    Case("one-then-two-again", PLAIN, 2, folder="one-then-two"),
    Case("two-then-one", PLAIN, 2, fault="SIGTERM", at=(1, 7)),
    Case("two-then-one-again", PLAIN, folder="two-then-one"),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    cases = [case for name, (words, *others) in PARITY.items() for case in alike(name, words, *others)]
    return run_all([*cases, *FAULTS], tmp_path_factory.mktemp("ddp"))


def difference(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """Largest of any element."""
    return max(float((ours[key] - theirs[key]).abs().max()) for key in ours)


def assert_alike(results: Results, name: str, other: str) -> None:
    """Both trials have one record and the same weights, curve and metrics, to rounding."""
    first, second = results.record(name), results.record(other)
    assert first.status in (Status.OK, Status.CHANCE), first.message
    assert (second.status, second.trial_id) == (first.status, first.trial_id), second.message
    ours, theirs = results.weights(name), results.weights(other)
    assert ours.keys() == theirs.keys()
    assert difference(ours, theirs) < 1e-12
    assert not any(key.startswith("accuracy") and second.test[key] != first.test[key] for key in first.test)
    assert second.test == pytest.approx(first.test, rel=1e-11)
    assert second.val == pytest.approx(first.val, rel=1e-11)
    losses = [[point["train_loss"] for point in results.curve(n) if "train_loss" in point] for n in (name, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-11)
    assert second.selection == first.selection


@pytest.mark.parametrize("name", PARITY)
def test_the_networks_that_are_compared_have_learnt(results, name):
    assert difference(initial_weights(*SMALL, *PARITY[name][0]), results.weights(f"{name}-1-1")) > 1e-3


def initial_weights(*words: str) -> dict[str, torch.Tensor]:
    """As `Results.weights`, before the first step."""
    config = compose(words).config
    net = building.build_net(config, building.build_task(config).spec)
    return {f"net.{key}": value for key, value in net.state_dict().items()}


@pytest.mark.parametrize("name", PARITY)
def test_any_number_of_processes_and_micro_batches_trains_the_same_network(results, name):
    _, *others = PARITY[name]
    for ranks, accumulate in others:
        assert_alike(results, f"{name}-1-1", f"{name}-{ranks}-{accumulate}")


def test_all_processes_see_the_same_metrics(results):
    first, second = (results.seen("recall-lru-2-1", rank) for rank in range(2))
    assert first == results.record("recall-lru-2-1")
    assert (second.test, second.val, second.status) == (first.test, first.val, first.status)
    assert first.test["accuracy"] > 0


def test_batch_norm_tracks_the_statistics_of_all(results):
    names = [key for key in results.weights("sparse-batch-norm-2-1") if "running" in key]
    assert len(names) == 6
    for key in names:
        alone, together = (results.weights(f"sparse-batch-norm-{n}-1")[key] for n in (1, 2))
        torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


def test_each_process_has_dropout_of_its_own(results):
    checkpoint = results.checkpoint("whole")
    first, second = (state["cpu"] for state in checkpoint["rng"])
    assert not torch.equal(first, second)


def test_a_signal_to_one_process_stops_all_and_nothing_is_lost(results):
    assert results.codes["asked"] == [0, 0]
    for rank in range(2):
        seen = results.seen("asked", rank)
        assert (seen.status, seen.budget.steps) == (Status.PREEMPTED, 10)
        assert seen.message == "stopped by SIGTERM at step 10"
    assert_identical(results, "asked", "whole")


def test_a_trial_whose_process_is_killed_goes_on_from_its_checkpoint(results):
    assert results.codes["killed"] == [0, -9]
    seen = results.seen("killed", 0)
    assert (seen.status, seen.budget.steps) == (Status.PREEMPTED, 10)
    assert seen.message.startswith("another process is gone (RuntimeError: ")
    assert_identical(results, "killed", "whole")


def assert_identical(results: Results, name: str, reference: str) -> None:
    """To the bit."""
    first, second = results.record(reference), results.record(name)
    assert second.status is Status.OK
    assert (results.folder(name) / "history.jsonl").read_text() == (
        results.folder(reference) / "history.jsonl"
    ).read_text()
    ours, theirs = results.weights(reference), results.weights(name)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert (second.test, second.val) == (first.test, first.val)


def test_the_process_that_fails_says_why(results):
    record = results.record("raised")
    assert record.status is Status.ERROR
    assert record.message == "rank 1: ValueError: a mistake in one process"
    assert results.seen("raised", 0) == record
    assert "a mistake in one process" in results.printed("raised", 1)


def test_too_little_memory_in_the_first_process_is_its_record(results):
    record = results.record("too-large")
    assert (record.status, record.message) == (Status.OOM, "OutOfMemoryError: too much for one process")
    assert results.seen("too-large", 1) == record


def test_all_processes_see_a_divergence(results):
    first, second = (results.seen("diverged", rank) for rank in range(2))
    assert first.status is second.status is Status.DIVERGED
    assert 2 <= first.failed_step == second.failed_step
    assert results.record("diverged") == first


def test_all_processes_run_out_of_time_at_the_same_step(results):
    first, second = (results.seen("late", rank) for rank in range(2))
    assert first.status is second.status is Status.TIMEOUT
    assert 0 < first.budget.steps == second.budget.steps < 20


def test_variables_of_slurm_and_torchrun_are_not_looked_at(results):
    assert results.codes["asked-again"] == [0, 0]
    assert_identical(results, "under-slurm", "alone")


def test_one_process_may_use_the_data_parallel_strategy(results):
    assert_identical(results, "ddp-alone", "alone")


@pytest.mark.parametrize("name", ["one-then-two", "two-then-one"])
def test_a_trial_goes_on_with_another_number_of_processes(results, name):
    assert_alike(results, "lds-stu-1-1", name)


def test_a_trial_gives_signs_of_life(results):
    assert (results.folder("whole") / "heartbeat").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train.devices=3",), "train.devices=3 times train.accumulate=1 equal parts; .* may be 2 or 4"),
        (("train.devices=2", "train.accumulate=3"), "may be 4 or 8"),
        (("train.accumulate=64",), "train.global_batch_size=32 .* may be 32"),
        (("train.devices=0",), "train.devices must be at least 1, got 0"),
        (("train.accumulate=2", "backbone.norm=batch"), "train.accumulate must be 1 with backbone.norm=batch"),
    ],
)
def test_parts_that_do_not_fit_are_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        compose(["task=lds", "model=lru", "train.global_batch_size=32", *words])


def test_the_number_of_processes_must_be_that_of_the_devices(tmp_path):
    from lra_bench import experiment

    record = experiment.run(compose([*RAMP, "train.devices=2", "train.global_batch_size=2"]).config, tmp_path)
    assert record.status is Status.ERROR
    assert "train.devices=2 takes as many processes and there is 1" in record.message


@pytest.mark.parametrize("size", [None, 10])
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_the_shares_of_the_processes_are_the_batch(size, ranks):
    whole = list(islice(StepSampler(size, 12, seed=0, start=2), 5))
    shares = [islice(StepSampler(size, 12, 0, 2, rank, ranks), 5) for rank in range(ranks)]
    assert [list(chain(*parts)) for parts in zip(*shares, strict=True)] == whole


def test_each_process_reads_its_share():
    cfg = LDSConfig(name="lds", seq_len=4)
    task: SequenceDataModule = LDS(cfg, 0, "clean", TrainConfig(global_batch_size=6), 0)
    whole = next(iter(task.train_loader(3)))
    shares = [next(iter(task.train_loader(3, rank, 3))) for rank in range(3)]
    assert torch.equal(torch.cat([share.x for share in shares]), whole.x)


@pytest.mark.slow
@pytest.mark.timeout(1600)
def test_every_model_is_the_same_in_one_two_and_four_processes(tmp_path):
    others = ((2, 1), (4, 1), (1, 2), (2, 2))
    names = [(f"{task}-{model}", (*TASKS[task], f"model={model}")) for task in ("lds", "recall") for model in MODELS]
    names += [(task, (*TASKS[task], "model=s4")) for task in ("pairs", "documents")]
    cases = [case for name, words in names for case in alike(name, words, *others)]
    results = run_all(cases, tmp_path, limit=1500)
    for name, _ in names:
        for ranks, accumulate in others:
            assert_alike(results, f"{name}-1-1", f"{name}-{ranks}-{accumulate}")


@pytest.mark.slow
@pytest.mark.timeout(1600)
@pytest.mark.parametrize("words", [("train.precision=bf16-mixed",), ("train.precision=32-true", "train.compile=true")])
def test_micro_batches_in_other_precisions_and_compiled(tmp_path, words):
    fixed = (*SMALL, *TASKS["recall"], "model=transformer", "optim.name=sgd", *words)
    cases = [Case(f"{n}", (*fixed, f"train.accumulate={a}"), r) for n, (r, a) in enumerate(((1, 1), (1, 2), (2, 2)))]
    results = run_all(cases, tmp_path, limit=1500)
    first, *others = (results.weights(case.name) for case in cases)
    moved = difference(initial_weights(*fixed), first)
    for other in others:
        assert difference(first, other) < 0.02 * moved


@pytest.mark.gpu
@pytest.mark.parametrize("words", ["train.strategy=ddp", "train.devices=2"])
def test_gpus_train_the_same_network(cli, folder, words):
    if torch.cuda.device_count() < (2 if words == "train.devices=2" else 1):
        pytest.skip("needs more CUDA devices")
    for study, more in (("one", ()), ("other", (words,))):
        cli("train", *PLAIN, "train.accelerator=gpu", f"study={study}", *more)
    found = (torch.load(path, weights_only=True) for path in folder.glob("runs/*/*/checkpoints/last.ckpt"))
    first, second = (checkpoint["state_dict"] for checkpoint in found)
    assert difference(first, second) < 1e-9
