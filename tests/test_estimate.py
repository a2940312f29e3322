"""What a sweep will cost: the arithmetic against numbers worked out by hand, and a real sweep against its estimate."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from lightning import Callback

from lra_bench.config.compose import compose
from lra_bench.core.record import RunRecord
from lra_bench.trials import estimate as estimates
from lra_bench.trials import probe as probes
from lra_bench.trials.estimate import Estimate, Group, grouped, makespan, summary, trial_seconds
from lra_bench.trials.plan import Cell, cell_of, freeze, plan
from lra_bench.trials.probe import Probe, Reading, Stopwatch, mean
from lra_bench.trials.sweepfile import Sweep, read_sweep
from lra_bench.trials.worker import run_trial
from tests.conftest import TINY

READING = Reading(
    steps=10,
    step=0.1,
    validations=2,
    validation=0.5,
    example=0.01,
    seen={"val": 20, "test": 20},
    sizes={"val": 100, "test": 50},
)
PROBE = Probe(READING, seconds=5.0, memory_mb=400.0, device="cpu", threads=1)
"""3 s that happen once, and 0.3 s for 30 more test examples; a step takes 0.1 s, a whole validation 0.5 + 0.8 s."""


def config(*words: str):
    return compose(["task=lds", "model=stu", *words]).config


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        (["train.max_steps=1000", "train.val_every=100"], 3.3 + 100 + 10 * 1.3),
        (["train.max_steps=1050", "train.val_every=100"], 3.3 + 105 + 10 * 1.3),
        (["train.max_steps=40", "train.val_every=100"], 3.3 + 4 + 1.3),
        (["train.max_steps=1000", "train.val_every=100", "train.time_limit=50"], 3.3 + 50),
        (["train.max_steps=1000", "train.val_every=100", "train.time_limit=500"], 3.3 + 100 + 10 * 1.3),
    ],
)
def test_a_trial_is_what_happens_once_and_its_steps_and_its_validations(words, seconds):
    assert trial_seconds(PROBE, config(*words).train) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("durations", "slots", "seconds"),
    [([3, 2, 2], 2, 4), ([1, 1, 1, 5], 2, 6), ([5, 1, 1, 1], 2, 5), ([2, 3], 4, 3), ([], 2, 0)],
)
def test_each_trial_takes_the_slot_that_is_free_first(durations, slots, seconds):
    assert makespan(durations, slots) == seconds


def test_copies_are_averaged_and_the_most_memory_counts():
    other = replace(PROBE, reading=replace(READING, step=0.3, validation=1.5, example=0.03), seconds=7.0, memory_mb=500)
    both = mean([PROBE, other])
    found = (both.reading.step, both.reading.validation, both.reading.example, both.seconds, both.memory_mb)
    assert found == pytest.approx((0.2, 1.0, 0.02, 6.0, 500))


def cells(**values: list[str]) -> list[Cell]:
    """Cells on lds of the product of values; `__` stands for the dot of a key."""
    words: list[tuple[str, ...]] = [("task=lds",)]
    for key, choices in values.items():
        words = [(*word, f"{key.replace('__', '.')}={choice}") for word in words for choice in choices]
    return plan(Sweep("s", tuple(words)))


def kinds(found: list[Cell]) -> list[tuple[str, dict[str, object], int]]:
    return [(group.cells[0].config.model.name, dict(group.differs), len(group.cells)) for group in grouped(found)]


def test_rates_seeds_steps_and_other_real_numbers_make_no_kind_of_their_own():
    found = cells(model=["lru"], optim__lr=["0.1", "0.2"], seed=["0", "1"], model__r_min=["0.5", "0.6"])
    found += cells(model=["lru"], train__max_steps=["10", "20"], optim__schedule=["cosine"])
    assert kinds(found) == [("lru", {}, 10)]


def test_what_changes_the_cost_makes_a_kind_and_is_named():
    found = cells(model=["stu"], model__num_filters=["4", "8"], seed=["0", "1"])
    found += cells(model=["s4d"], model__d_state=["4"])
    found += cells(model=["s4d"], model__d_state=["4"], train__global_batch_size=["2"])
    found += cells(model=["s4d"], model__d_state=["4"], backbone__dropout=["0.1"])
    assert kinds(found) == [
        ("stu", {"model.num_filters": 4}, 2),
        ("stu", {"model.num_filters": 8}, 2),
        ("s4d", {"train.global_batch_size": 1, "backbone.dropout": 0.0}, 1),
        ("s4d", {"train.global_batch_size": 2, "backbone.dropout": 0.0}, 1),
        ("s4d", {"train.global_batch_size": 1, "backbone.dropout": 0.1}, 1),
    ]


def test_the_totals_are_the_sums_of_all_trials():
    found = cells(model=["stu"], train__max_steps=["1000"], train__val_every=["100"], seed=["0", "1", "2"])
    (group,) = grouped(found)
    two = replace(found[0].config, train=replace(found[0].config.train, devices=2, global_batch_size=2))
    pair = Group((cell_of(two),), {})
    costs = summary([Estimate(group, PROBE), Estimate(pair, PROBE), Estimate(group, None, "oom: too large")], 2)
    trial = 116.3 / 3600
    assert costs["groups"][0]["hours_per_trial"] == pytest.approx(trial)
    assert costs["groups"][0]["device_hours"] == pytest.approx(3 * trial)
    assert costs["groups"][1]["device_hours"] == pytest.approx(2 * trial)
    assert costs["groups"][2]["failure"] == "oom: too large"
    assert costs["total"] == pytest.approx({"trials": 4, "hours": 2 * trial, "device_hours": 5 * trial})
    assert costs["conditions"]["trials_at_once"] == 2


class Work(Callback):
    """A clock that stands still but for the work: 1 s a step, 3 s the first one, 0.5 s an evaluation batch."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self, trainer) -> float:
        return self.seconds

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.seconds += 3.0 if trainer.global_step == 0 else 1.0

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0) -> None:
        self.seconds += 0.5


def test_the_stopwatch_tells_steps_validations_and_examples_apart(folder, monkeypatch):
    work = Work()
    monkeypatch.setattr(probes, "_now", work.now)
    words = ["task.seq_len=24", "task.val_size=20", "task.test_size=8", "train.eval_batch_size=4"]
    cell = cell_of(config(*words, "train.max_steps=10", "train.val_every=4"))
    freeze(cell)
    record = run_trial(cell.folder, observers=[Stopwatch(batch_size=4, batches=3), work])
    assert record.status in ("ok", "chance")
    assert Reading.read(cell.folder / probes.READING) == Reading(
        steps=10,
        step=1.0,
        validations=2,
        validation=1.5,
        example=0.125,
        seen={"val": 12, "test": 8},
        sizes={"val": 20, "test": 8},
    )


TWO = """
method: grid
parameters:
  task: {value: lds}
  model: {values: [stu, "tests.strangers:Raises", "tests.strangers:Killed"]}
  optim.lr: {values: [0.1, 0.2]}
"""


@pytest.mark.usefixtures("nothing_else_killed")
def test_a_kind_that_fails_is_named_and_nothing_is_left_behind(cli, folder, monkeypatch):
    (folder / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "tmp"))
    Path("two.yaml").write_text(TWO)
    shown = cli("sweep", "estimate", "two.yaml", *TINY, "--slots", "1", expect=1).output
    assert "failed: error: ValueError: the stranger's own mistake" in shown
    assert "failed: error: the trial's process was killed by SIGKILL" in shown
    assert "2 trials: " in shown
    assert "less where trials diverge" in shown
    assert "with 1 at once" in shown
    assert "next: lra-bench sweep run two.yaml" in shown
    table = shown.splitlines()[3:8]
    assert table[0].startswith("task  model")
    assert max(map(len, (*table, shown.splitlines()[-3], shown.splitlines()[-2]))) <= 100
    assert sorted(path.name for path in folder.iterdir()) == ["tmp", "two.yaml"]
    assert not list((folder / "tmp").glob("lra-bench-*/*"))


def test_a_trial_so_short_that_it_is_run_to_its_end_costs_what_it_took(cli, folder, monkeypatch):
    """On as many slots as there are trials, though there were more."""
    taken = []
    run_copies = estimates.run_copies
    monkeypatch.setattr(
        estimates,
        "run_copies",
        lambda cell, slots, eval_batches: taken.append(run_copies(cell, slots, eval_batches)) or taken[-1],
    )
    Path("two.yaml").write_text(TWO.replace(', "tests.strangers:Raises", "tests.strangers:Killed"', ""))
    output = cli("sweep", "estimate", "two.yaml", *TINY, "--slots", "8", "--json").output
    costs = json.loads(output[output.index("{\n") :])
    (group,) = costs["groups"]
    look, probe = taken
    assert (look.reading.steps, probe.reading.steps, probe.reading.validations) == (4, 6, 2)
    assert group["trials"] == 2
    assert group["hours_per_trial"] * 3600 == pytest.approx(probe.seconds)
    assert costs["total"]["hours"] * 3600 == pytest.approx(probe.seconds)
    assert costs["total"]["device_hours"] * 3600 == pytest.approx(2 * probe.seconds)
    assert costs["conditions"]["trials_at_once"] == 2
    assert group["peak_memory_mb"] == probe.memory_mb > 100


def test_data_must_be_there(cli, folder):
    Path("text.yaml").write_text("method: grid\nparameters: {task: {value: text}, model: {value: s4d}}")
    assert "lra-bench data prepare text" in cli("sweep", "estimate", "text.yaml", expect=2).output


@pytest.mark.slow
def test_a_trial_of_two_processes_is_measured_as_one(cli, folder):
    Path("two.yaml").write_text(TWO.replace(', "tests.strangers:Raises", "tests.strangers:Killed"', ""))
    words = ["train.devices=2", "train.global_batch_size=4", "task.val_size=6", "train.eval_batch_size=1"]
    output = cli("sweep", "estimate", "two.yaml", *TINY, *words, "--slots", "1", "--json").output
    costs = json.loads(output[output.index("{\n") :])
    assert costs["groups"][0]["seconds_per_step"] > 0
    assert costs["total"]["device_hours"] == pytest.approx(2 * costs["total"]["hours"])


@pytest.mark.slow
def test_the_quickstart_costs_what_was_estimated(cli, folder):
    """Within 30 % of the time and 15 % of the memory, the estimate being the mean of one before and one after."""

    def estimated() -> dict:
        output = cli("sweep", "estimate", "quickstart", "--slots", "2", "--json").output
        return json.loads(output[output.index("{\n") :])

    before = estimated()
    began = probes.time.perf_counter()
    cli("sweep", "run", "quickstart", "--slots", "2")
    seconds = probes.time.perf_counter() - began
    after = estimated()
    hours = (before["total"]["hours"] + after["total"]["hours"]) / 2
    assert hours * 3600 == pytest.approx(seconds, rel=0.3)
    records = [RunRecord.read(path) for path in Path("runs/quickstart").glob("*/record.json")]
    assert len(records) == len(read_sweep("quickstart").cells)
    for group in after["groups"]:
        used = [r.budget.peak_memory_mb for r in records if r.model.name == group["model"]]
        assert group["peak_memory_mb"] == pytest.approx(sum(used) / len(used), rel=0.15)
