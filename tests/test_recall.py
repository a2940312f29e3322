import json
from collections import Counter

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lra_bench.config.compose import compose, load_frozen, to_yaml
from lra_bench.core.errors import ConfigError, LraBenchError
from lra_bench.core.record import RunRecord
from lra_bench.core.settings import TrainConfig
from lra_bench.core.specs import OutputKind
from lra_bench.tasks import recall
from lra_bench.tasks.recall_examples import POWER, associative_recall, selective_copying
from lra_bench.training.objectives import make_objective
from tests.conftest import tiny
from tests.test_cli import small

TASKS = {
    "copying": recall.Copying,
    "selective_copying": recall.SelectiveCopying,
    "adding": recall.Adding,
    "induction_heads": recall.InductionHeads,
    "associative_recall": recall.AssociativeRecall,
}
SPLITS = ("train", "val", "test")
every_task = pytest.mark.parametrize("name", TASKS)


def make(name, data_seed=0, **fields):
    cfg = TASKS[name].Config(**{"name": name, "val_size": 20, "test_size": 40, **fields})
    return TASKS[name](cfg, data_seed, "clean", TrainConfig(), seed=0)


# Each answers a sequence of one level from its definition, step by step: {step: answer}.


def answers_of_copying(x, delay):
    memory = x.index(2) + 1 - delay
    assert len(x) == 2 * memory + delay
    assert all(token >= 3 for token in x[:memory])
    assert x[memory:] == [1] * (delay - 1) + [2] + [1] * memory
    return {len(x) - memory + place: x[place] - 3 for place in range(memory)}


def answers_of_selective_copying(x, length):
    seen = [token - 3 for token in x if token >= 3]
    assert x[length:] == [2] * len(seen)
    assert set(x[:length]) <= {1, *range(3, 17)}
    return {length + place: symbol for place, symbol in enumerate(seen)}


def answers_of_adding(x, length):
    marked = [step for step, (_, mark) in enumerate(x) if mark == 1]
    assert [mark for _, mark in x].count(0) == len(x) - 2 == length - 2
    assert marked[0] < length // 2 <= marked[1]
    assert all(0 <= number < 1 for number, _ in x)
    return {length - 1: [x[marked[0]][0] + x[marked[1]][0]]}


def answers_of_induction_heads(x, length):
    first, last = (step for step, token in enumerate(x) if token == 1)
    assert last == length - 1 == len(x) - 1
    assert min(token for token in x if token != 1) >= 2
    return {last: x[first + 1] - 2}


def answers_of_associative_recall(x, pairs):
    values = {x[2 * pair]: x[2 * pair + 1] for pair in range(pairs)}
    assert len(values) == len(set(values.values())) == pairs
    assert max(values) < 64 <= min(values.values()) <= max(values.values()) < 128
    asked = {step: x[step] for step in range(2 * pairs, len(x)) if x[step] != 0}
    assert sorted(asked.values()) == sorted(values)
    assert all(step % 2 == 0 for step in asked)
    return {step: values[key] - 64 for step, key in asked.items()}


@every_task
def test_every_answer_follows_from_the_definition(name):
    task = make(name)
    answers = globals()[f"answers_of_{name}"]
    for split in SPLITS:
        batch = task.source(split).__getitems__(list(range(20)))
        assert batch.x.shape[:2] == batch.y_mask.shape == (20, task.spec.seq_len)
        for row in range(20):
            level = task.cfg.levels[batch.group[row]]
            length = task.spec.seq_len if batch.mask is None else int(batch.mask[row].sum())
            expected = answers(batch.x[row, :length].tolist(), level)
            assert torch.where(batch.y_mask[row])[0].tolist() == sorted(expected)
            for step, answer in expected.items():
                assert batch.y[row, step].tolist() == pytest.approx(answer)


@every_task
def test_batches_are_what_the_contract_says(name):
    task = make(name)
    spec, batch = task.spec, task.source("train").__getitems__(list(range(12)))
    regresses = spec.output is OutputKind.REGRESS_SEQUENCE
    assert batch.x.dtype == batch.y.dtype == (torch.float32 if regresses else torch.int64)
    assert batch.group.tolist() == [0, 1, 2, 3] * 3
    if regresses:
        assert (batch.x.shape[2], batch.y.shape[2]) == (spec.input_size, spec.output_size)
    else:
        assert 0 <= batch.x.min() <= batch.x.max() < spec.input_size
        assert 0 <= batch.y.min() <= batch.y.max() < spec.output_size
    if batch.mask is None:
        assert spec.pad_id is None
    else:
        lengths = [task.steps(level) for level in task.cfg.levels] * 3
        assert torch.equal(batch.mask, torch.arange(spec.seq_len) < torch.tensor(lengths).unsqueeze(1))
        assert max(lengths) == spec.seq_len
        assert torch.all(batch.x[~batch.mask] == (0 if regresses else spec.pad_id))
        assert regresses or not torch.any(batch.x[batch.mask] == spec.pad_id)
        assert not torch.any(batch.y_mask & ~batch.mask)


def test_one_level_needs_no_padding():
    assert make("copying", delays=(5,)).source("val").__getitems__([0]).mask is None


@every_task
def test_an_example_is_a_function_of_seed_split_and_index(name):
    task, again = make(name), make(name)
    for split in SPLITS:
        batch = task.source(split).__getitems__([5, 6, 7])
        other = again.source(split).__getitems__([7, 5])
        for part, other_part in zip(batch, other, strict=True):
            assert part is other_part is None or torch.equal(part[[2, 0]], other_part)
    firsts = [task.source(split).__getitems__([0]).x for split in SPLITS]
    assert not any(torch.equal(a, b) for a in firsts for b in firsts if a is not b)
    assert not torch.equal(make(name, data_seed=1).source("train").__getitems__([5]).x, batch.x[:1])


@every_task
def test_splits_have_the_same_share_of_every_level(name):
    task = make(name)
    for split, size in (("val", 20), ("test", 40)):
        source = task.source(split)
        assert source.size == size
        counts = torch.bincount(source.__getitems__(list(range(size))).group)
        assert counts.tolist() == [size // 4] * 4
    assert task.source("train").size is None


@pytest.mark.parametrize("data_seed", [0, 1])
def test_no_sequence_is_in_two_splits(data_seed):
    """There are only 64 sequences here, and all of them are drawn."""
    tasks = (
        make("copying", symbols=2, memory=6, delays=(2,)),
        make("copying", data_seed, symbols=2, memory=6, delays=(2,)),
    )
    drawn = [{x.tobytes() for x, _, _ in tasks[0].examples(split, range(500))} for split in SPLITS]
    assert sum(map(len, drawn)) == len(set.union(*drawn)) == 64
    elsewhere = [{x.tobytes() for x, _, _ in tasks[1].examples(split, range(500))} for split in SPLITS]
    assert drawn == elsewhere


def test_too_few_sequences_are_an_error_that_says_so():
    task = make("copying", symbols=2, memory=1, delays=(2,))
    with pytest.raises(LraBenchError, match=r"no sequence for the (train|val|test) split: ask for longer sequences"):
        [task.examples(split, [0]) for split in SPLITS]


@pytest.mark.parametrize("name", [name for name in TASKS if name != "adding"])
def test_answers_are_equally_likely(name):
    task = make(name)
    answers = np.concatenate([example.targets for example in task.examples("train", range(1500))])
    counts = np.bincount(answers, minlength=task.spec.output_size)
    expected = len(answers) / task.spec.output_size
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert statistic < task.spec.output_size + 5 * np.sqrt(2 * task.spec.output_size)


def test_symbols_are_scattered_evenly():
    rng = np.random.default_rng(0)
    found = [np.flatnonzero(selective_copying(rng, 4, 3, 10).x[:10] >= 3) for _ in range(3000)]
    np.testing.assert_allclose(np.bincount(np.concatenate(found)) / 3000, 0.3, atol=0.04)


def test_marks_and_triggers_can_be_anywhere():
    places = Counter(
        tuple(np.flatnonzero(x[:, 1])) for x, _, _ in make("adding", lengths=(5,)).examples("train", range(600))
    )
    assert set(places) == {(a, b) for a in (0, 1) for b in (2, 3, 4)}
    assert min(places.values()) > 60
    triggers = Counter(
        int((x == 1).argmax()) for x, _, _ in make("induction_heads", lengths=(6,)).examples("train", range(600))
    )
    assert set(triggers) == {0, 1, 2, 3}
    assert min(triggers.values()) > 100


def test_gaps_of_queries_follow_the_power_law():
    rng = np.random.default_rng(0)
    gaps = [(associative_recall(rng, 16, 20, 1).steps[0] - 2) // 2 for _ in range(4000)]
    law = np.arange(1.0, 10.0) ** (POWER - 1)
    np.testing.assert_allclose(np.bincount(gaps, minlength=9) / 4000, law / law.sum(), atol=0.03)


@every_task
def test_baselines_are_measured(name):
    task = make(name, test_size=400)
    batch, found = task.source("test").__getitems__(list(range(400))), task.baselines()
    prediction = torch.full((400, task.spec.seq_len, 1), 1.0)
    if name != "adding":
        counts = torch.bincount(batch.y[batch.y_mask], minlength=task.spec.output_size)
        prediction = F.one_hot(counts.argmax(), task.spec.output_size).float().expand(400, task.spec.seq_len, -1)
    scores = make_objective(task.spec).scores()
    scores.update(prediction, batch)
    constant = found["mean" if name == "adding" else "majority"]
    assert constant == pytest.approx({key: value.item() for key, value in scores.compute().items()}, rel=1e-4)
    assert constant[task.spec.metric] == pytest.approx(task.spec.chance, abs=0.03)
    assert task.spec.at_chance(constant[task.spec.metric])
    assert not task.spec.at_chance(0.1 if name == "adding" else 0.2)
    assert ("unordered" in found) == (name not in ("adding", "induction_heads"))


def test_unordered_answers_with_the_most_frequent_symbol():
    found = make("associative_recall").baselines()["unordered"]
    assert found["accuracy/pairs_4"] == 1 / 4
    assert found["accuracy"] == pytest.approx(4 / (2 + 4 + 8 + 16))
    task = make("copying")
    best = [max(Counter(example.targets.tolist()).values()) / 10 for example in task.test_examples]
    assert task.baselines()["unordered"]["accuracy"] == pytest.approx(np.mean(best))
    assert task.baselines()["unordered"]["accuracy/delay_80"] == pytest.approx(np.mean(best[3::4]))


@every_task
def test_knowing_the_answers_is_perfect_at_every_level(name):
    task = make(name)
    batch, scores = task.source("test").__getitems__(list(range(40))), make_objective(task.spec).scores()
    knowing = batch.y if name == "adding" else F.one_hot(batch.y, task.spec.output_size).float()
    scores.update(knowing, batch)
    found = {float(value) for value in scores.compute().values()}
    assert found == ({0.0} if name == "adding" else {1.0})
    assert len(scores.compute()) == (10 if name == "adding" else 5)


@every_task
def test_the_fingerprint_depends_on_what_decides_the_data(name):
    reference = make(name).fingerprint()
    assert make(name).fingerprint() == reference
    assert make(name, data_seed=1).fingerprint() != reference
    field = TASKS[name].Config.difficulty
    assert make(name, **{field: (10, 12, 14, 16)}).fingerprint() != reference


@every_task
def test_settings_come_back_from_a_file_as_they_were(name, tmp_path):
    config = compose([f"task={name}", "model=lru", *tiny(name)]).config
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert load_frozen(path) == config
    hash(config.task)
    assert json.loads(json.dumps(config.to_dict()))["task"][config.task.difficulty] == list(config.task.levels)


@pytest.mark.parametrize(
    ("task", "word", "message"),
    [
        ("copying", "task.delays=[]", "task.delays must be a list of rising numbers from 1 on, got"),
        ("copying", "task.delays=[5,5]", "task.delays must be a list of rising numbers"),
        ("copying", "task.delays=[0,5]", "task.delays must be a list of rising numbers from 1 on"),
        ("copying", "task.delays=5", "task.delays"),
        ("copying", "task.symbols=1", "task.symbols must be at least 2, got 1"),
        ("copying", "task.memory=0", "task.memory must be at least 1"),
        (
            "copying",
            "task.val_size=6",
            "task.val_size must be a positive multiple of 4, how many task.delays there are",
        ),
        ("copying", "task.test_size=0", "task.test_size must be a positive multiple of 4"),
        ("selective_copying", "task.memory=17", "task.memory must be at most 16, the first of task.lengths"),
        ("selective_copying", "task.memory=0", "task.memory must be at least 1"),
        ("selective_copying", "task.symbols=1", "task.symbols must be at least 2"),
        ("adding", "task.lengths=[1,2]", "task.lengths must be a list of rising numbers from 2 on"),
        ("induction_heads", "task.lengths=[2]", "task.lengths must be a list of rising numbers from 3 on"),
        ("induction_heads", "task.symbols=1", "task.symbols must be at least 2"),
        ("associative_recall", "task.seq_len=62", "task.seq_len must be at least 64, 4 for each pair, got 62"),
        ("associative_recall", "task.seq_len=65", "task.seq_len must be even"),
        ("associative_recall", "task.vocab_size=33", "task.vocab_size must be at least 34"),
        ("associative_recall", "task.lengths=[3]", "task.lengths.*not in"),
    ],
)
def test_a_mistake_gets_one_clear_line(task, word, message):
    with pytest.raises(ConfigError, match=message) as caught:
        compose([f"task={task}", "model=lru", word])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("task", "fields"),
    [
        ("copying", {"delays": (1,), "memory": 3}),
        ("selective_copying", {"lengths": (8,)}),
        ("adding", {"lengths": (2, 3)}),
        ("induction_heads", {"lengths": (3, 4)}),
        ("associative_recall", {"vocab_size": 34}),
    ],
)
def test_the_smallest_settings_work(task, fields):
    levels = len(fields.get(TASKS[task].Config.difficulty, range(4)))
    batch = make(task, **fields, val_size=levels).source("val").__getitems__(list(range(levels)))
    assert batch.y_mask.any(1).all()


@pytest.mark.parametrize(("name", "chance"), [("copying", 1 / 8), ("adding", 1 / 6), ("associative_recall", 1 / 64)])
def test_chance_is_known(name, chance):
    assert make(name).spec.chance == chance


@every_task
def test_training_writes_the_metric_at_every_level(cli, folder, name):
    words = ("train", f"task={name}", "model=lru", small("lru"), *tiny(name), "backbone.d_model=8")
    cli(*words, "train.eval_batch_size=3")
    (path,) = folder.glob("runs/train/*/record.json")
    record = RunRecord.read(path)
    assert record.status in ("ok", "chance")
    groups = [f"{TASKS[name].axis}_{level}" for level in record.config["task"][TASKS[name].Config.difficulty]]
    metrics = ("mse", "nmse") if name == "adding" else ("accuracy",)
    wanted = {*metrics, *(f"{metric}/{group}" for metric in metrics for group in groups)}
    assert set(record.val) == set(record.test) == set(record.task.baselines["mean" if name == "adding" else "majority"])
    assert set(record.test) == wanted
    assert all(set(point.val) in (set(), wanted) for point in record.curve)
    path.unlink()
    cli(*words, "train.eval_batch_size=4")
    assert RunRecord.read(path).test == pytest.approx(record.test, rel=1e-5)


def test_a_report_takes_records_with_levels(cli):
    for rate in ("0.01", "0.1"):
        cli(
            "train",
            "task=copying",
            "model=lru",
            small("lru"),
            *tiny("copying"),
            "backbone.d_model=8",
            f"optim.lr={rate}",
        )
    assert "Report: out/index.html" in cli("report", "runs/train", "--out", "out").output
