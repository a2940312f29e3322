import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lra_bench.core.record import Status, TaskInfo
from lra_bench.report import comparison
from lra_bench.report.comparison import difference, holm, ranks, sample, seeds_needed
from tests.records import boards_of, make_record

ONE_IN_TWENTY = 0.05


def seeded(values, start=0):
    """A sample with a seed for each value."""
    return {(seed, seed): float(value) for seed, value in enumerate(values, start)}


def drawn(n, scale=1.0, seed=0, tasks=1):
    rng = np.random.default_rng(seed)
    return [rng.normal(0.8, 0.01 * scale, n) for _ in range(tasks)]


def bootstrap_oracle(first, second, resamples, rng):
    """Algorithm 16.2 of Efron and Tibshirani (1993) for lists of tasks, in loops: p-value and 95 % point of |t|."""

    def t_of(parts, others):
        shift = sum(part.mean() for part in parts) - sum(part.mean() for part in others)
        squared = sum(part.var(ddof=1) / part.size for part in (*parts, *others))
        return abs(shift) / math.sqrt(squared) if squared > 1e-30 else None

    centred = [[part - part.mean() for part in parts] for parts in (first, second)]
    found = [t_of(*([rng.choice(part, part.size) for part in parts] for parts in centred)) for _ in range(resamples)]
    kept = np.array([t for t in found if t is not None])
    return np.mean(kept >= t_of(first, second)), np.quantile(kept, 0.95)


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_same_seeds_as_scipy(n):
    [first], [second] = drawn(n, seed=1), drawn(n, seed=2)
    found = difference([seeded(first)], [seeded(second)])
    expected = stats.ttest_rel(first, second)
    interval = expected.confidence_interval()
    assert (found.method, found.n, found.ratio) == ("paired", n, False)
    assert found.value == pytest.approx((first - second).mean())
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_several_tasks_are_averaged_seed_by_seed():
    first, second = drawn(4, seed=1, tasks=6), drawn(4, seed=2, tasks=6)
    found = difference([seeded(each) for each in first], [seeded(each) for each in second])
    expected = stats.ttest_rel(np.mean(first, axis=0), np.mean(second, axis=0))
    assert (found.method, found.p) == ("paired", pytest.approx(expected.pvalue))


def test_pairs_are_made_by_seed_not_by_place():
    first = {(0, 0): 0.1, (1, 1): 0.2, (2, 2): 0.3}
    second = {(2, 2): 0.31, (0, 0): 0.12, (1, 1): 0.2}
    found = difference([first], [second])
    assert found.p == pytest.approx(stats.ttest_rel([0.1, 0.2, 0.3], [0.12, 0.2, 0.31]).pvalue)


def test_logarithms_give_ratios():
    first, second = np.array([1.0, 2.0, 3.5]), np.array([0.1, 0.3, 0.25])
    found = difference([seeded(first)], [seeded(second)], log=True)
    expected = stats.ttest_rel(np.log(first), np.log(second))
    interval = expected.confidence_interval()
    assert found.ratio
    assert found.value == pytest.approx(stats.gmean(first) / stats.gmean(second))
    assert (found.low, found.high) == pytest.approx((math.exp(interval.low), math.exp(interval.high)))
    assert not difference([seeded(first)], [seeded([0.0, 0.1, 0.2])], log=True).ratio


@pytest.mark.parametrize(("n", "other"), [(2, 3), (3, 3), (3, 5), (3, 10), (5, 5), (10, 10)])
def test_other_seeds_are_never_surer_than_welch(n, other):
    for seed in range(5):
        [first], [second] = drawn(n, seed=seed), drawn(other, scale=3, seed=seed + 50)
        found = difference([seeded(first)], [seeded(second, start=100)])
        expected = stats.ttest_ind(first, second, equal_var=False)
        interval = expected.confidence_interval()
        assert (found.method, found.n) == ("bootstrap", min(n, other))
        assert found.p >= expected.pvalue - 1e-12
        assert found.low <= interval.low + 1e-12
        assert found.high >= interval.high - 1e-12
        assert (found.p <= ONE_IN_TWENTY) == (found.low > 0 or found.high < 0)


@pytest.mark.parametrize(("n", "other", "tasks"), [(5, 5, 1), (4, 9, 1), (20, 20, 1), (5, 6, 3)])
def test_the_bootstrap_against_one_in_loops(n, other, tasks):
    rng = np.random.default_rng(5)
    first = [rng.lognormal(0, 1, n) for _ in range(tasks)]
    second = [rng.lognormal(1, 1, other) for _ in range(tasks)]
    found = difference([seeded(each) for each in first], [seeded(each, 100) for each in second])
    p, point = bootstrap_oracle(first, second, 2_000, rng)
    variances = [each.var(ddof=1) / each.size for each in (*first, *second)]
    free = [each.size - 1 for each in (*first, *second)]
    degrees = sum(variances) ** 2 / sum(v**2 / f for v, f in zip(variances, free, strict=True))
    error = math.sqrt(sum(variances)) / tasks
    welch = 2 * stats.t.sf(abs(found.value) / error, degrees)
    assert found.p == pytest.approx(max(p, welch), abs=0.03)
    assert (found.high - found.low) / 2 == pytest.approx(max(point, stats.t.ppf(0.975, degrees)) * error, rel=0.12)


@pytest.fixture
def fewer_resamples(monkeypatch):
    """A tenth of them, for simulations of many samples."""
    monkeypatch.setattr(comparison, "RESAMPLES", 999)
    comparison._resampled.cache_clear()
    yield
    comparison._resampled.cache_clear()


def false_positives(law, n, other, samples, paired):
    rng = np.random.default_rng(n * 100 + other)
    start = 0 if paired else 1_000
    found = [difference([seeded(law(rng, n))], [seeded(law(rng, other), start)]) for _ in range(samples)]
    return np.mean([each is not None and each.p <= ONE_IN_TWENTY for each in found])


LAWS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "log-normal": lambda rng, n: rng.lognormal(size=n),
    "few test examples": lambda rng, n: np.round(rng.normal(0.8, 0.002, n), 3),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_false_positives_of_the_same_seeds(law, n):
    assert false_positives(LAWS[law], n, n, 2_000, paired=True) < 0.065


@pytest.mark.slow
@pytest.mark.parametrize(("n", "other"), [(3, 3), (5, 5), (10, 10), (3, 10)])
def test_false_positives_of_other_seeds_in_many_samples(n, other):
    assert false_positives(LAWS["normal"], n, other, 8_000, paired=False) < 0.06


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("n", "other"), [(3, 3), (5, 5), (10, 10), (3, 10)])
@pytest.mark.usefixtures("fewer_resamples")
def test_false_positives_of_other_seeds(law, n, other):
    assert false_positives(LAWS[law], n, other, 800, paired=False) < 0.075


def covers(rng, n, paired):
    """Whether the interval of a difference of 0.05 holds it, where what the seeds share is larger than their noise."""
    shared = rng.normal(0, 0.05, n) if paired else 0.0
    first, second = 0.9 + shared + rng.normal(0, 0.02, n), 0.85 + shared + rng.normal(0, 0.01, n)
    found = difference([seeded(first)], [seeded(second, 0 if paired else 100)])
    return found.low <= 0.05 <= found.high


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.usefixtures("fewer_resamples")
def test_intervals_cover_the_difference(n):
    rng = np.random.default_rng(n)
    assert np.mean([covers(rng, n, paired=True) for _ in range(2_000)]) == pytest.approx(0.95, abs=0.02)
    assert np.mean([covers(rng, n, paired=False) for _ in range(800)]) > 0.92


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_holm_is_closed_testing_with_bonferroni(p_values):
    """A hypothesis is rejected if Bonferroni's test rejects every intersection of hypotheses that it is part of."""
    places = range(len(p_values))
    subsets = [chosen for size in range(1, len(p_values) + 1) for chosen in combinations(places, size)]
    for place, adjusted in enumerate(holm(p_values)):
        worst = max(min(1.0, len(s) * min(p_values[i] for i in s)) for s in subsets if place in s)
        assert adjusted == pytest.approx(worst)


def test_rows_that_cannot_be_told_apart_share_a_rank():
    good, similar, bad = drawn(5, seed=1)[0], drawn(5, seed=2)[0], drawn(5, seed=3)[0] - 0.3
    rows = [[seeded(each)] for each in (bad, good, similar)]
    assert ranks(rows, higher_is_better=True, log=False) == [3, 1, 1]
    assert ranks(rows, higher_is_better=False, log=False) == [1, 2, 2]
    assert ranks([None, *rows], higher_is_better=True, log=False) == [None, 3, 1, 1]


def test_too_few_seeds_have_no_rank():
    one_seed = [seeded([0.1])]
    others = [[seeded(drawn(3, seed=seed)[0])] for seed in (1, 2)]
    assert ranks([one_seed, *others], higher_is_better=True, log=False) == [None, 1, 1]
    assert ranks([one_seed], higher_is_better=True, log=False) == [1]
    assert ranks([None], higher_is_better=True, log=False) == [None]
    assert ranks([], higher_is_better=True, log=False) == []


def test_holm_counts_all_pairs_of_the_table():
    """A difference that stands alone at 5 % does not stand among 45 pairs."""
    first, second = [seeded([0.80, 0.81, 0.82])], [seeded([0.83, 0.835, 0.855])]
    assert difference(first, second).p < ONE_IN_TWENTY
    assert ranks([first, second], higher_is_better=True, log=False) == [2, 1]
    more = [[seeded(drawn(3, scale=3, seed=seed)[0])] for seed in range(8)]
    assert ranks([first, second, *more], higher_is_better=True, log=False)[0] == 1


row = st.lists(st.floats(0.001, 1), min_size=1, max_size=5).flatmap(
    lambda values: st.sampled_from([0, 100]).map(lambda start: [seeded(values, start)])
)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.none() | row, max_size=6), st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_rows_plays_no_part(rows, log, random):
    found = ranks(rows, higher_is_better=False, log=log)
    order = random.sample(range(len(rows)), len(rows))
    assert ranks([rows[place] for place in order], higher_is_better=False, log=log) == [found[place] for place in order]
    ranked = [rank for rank in found if rank is not None]
    assert not ranked or 1 in ranked
    assert all(1 <= rank <= len(ranked) for rank in ranked)


@settings(deadline=None, max_examples=40)
@given(row, row, st.booleans())
def test_turned_round_it_is_the_opposite(first, second, log):
    there, back = difference(first, second, log), difference(second, first, log)
    if there is None:
        assert back is None
        return
    expected = (1 / there.value, 1 / there.high) if log else (-there.value, -there.high)
    assert (back.p, back.n) == (pytest.approx(there.p), there.n)
    assert (back.value, back.low) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_one_seed_tells_nothing():
    assert difference([seeded([0.1])], [seeded([0.9])]) is None
    assert difference([seeded([0.1])], [seeded([0.9, 0.8, 0.7])]) is None


def test_seeds_that_agree():
    """Three that agree exactly set a difference beyond chance, two do not: see the rate of false positives above."""
    three = difference([seeded([0.3] * 3)], [seeded([0.1 + 0.1, 0.2, 0.2])])
    assert (three.p, three.low, three.high) == (0.0, three.value, three.value)
    assert three.value == pytest.approx(0.1)
    assert difference([seeded([0.3] * 2)], [seeded([0.2] * 2)]) is None
    assert difference([seeded([0.3] * 3)], [seeded([0.2] * 3, start=5)]).p == 0.0
    same = difference([seeded([0.3] * 3)], [seeded([0.3] * 3)])
    assert (same.value, same.p) == (0.0, 1.0)
    rounded = difference([seeded([0.81, 0.82, 0.83])], [seeded([0.71, 0.72, 0.73])])
    assert (rounded.p, rounded.high - rounded.low) == (0.0, 0.0), "a spread of 1e-17 is from rounding"


def test_a_row_at_chance_is_told_from_one_that_learns():
    found = difference([seeded([0.5] * 3)], [seeded([0.86, 0.87, 0.88], start=7)])
    assert found.p < 0.001


def test_numbers_too_large_to_compute_with():
    huge = seeded([1e308, 1e307, -1e308])
    assert difference([huge], [seeded([0.1, 0.2, 0.3])]) is None
    wide = difference([seeded([1e-300, 1e300])], [seeded([1.0, 2.0])], log=True)
    assert (wide.low, wide.high) == (0.0, math.inf)
    tiny = difference([seeded([1e-200, 2e-200, 4e-200])], [seeded([3e-200, 1e-200, 2e-200], start=9)])
    assert tiny is None or 0 <= tiny.p <= 1


def test_seeds_needed_show_the_difference_four_times_in_five():
    rng = np.random.default_rng(0)
    first = 0.5 + rng.normal(0, 0.01, 5)
    second = first + 0.006 + rng.normal(0, 0.01, 5)
    found = difference([seeded(first)], [seeded(second)])
    needed = seeds_needed(found)
    spread = (first - second).std(ddof=1)
    t = stats.ttest_1samp(rng.normal(found.value, spread, size=(4_000, needed)), 0, axis=1)
    assert np.mean(t.pvalue < ONE_IN_TWENTY) == pytest.approx(0.8, abs=0.06)
    assert seeds_needed(difference([seeded([0.1, 0.2, 0.3])], [seeded([0.2, 0.1, 0.3])])) is None


def test_samples_of_cells():
    accuracy = TaskInfo(name="text", version=1, metric="accuracy", higher_is_better=True, chance=0.5)

    def only_cell(*records):
        [board] = boards_of(records)
        return sample(board.rows[0].cells[0], board.metric)

    records = [make_record(seed=seed, val=0.1, test=0.2 + seed) for seed in (1, 0)]
    assert only_cell(*records) == {(0, 0): 0.2, (1, 1): 1.2}
    assert only_cell(*records, make_record(seed=2, val=None, status=Status.DIVERGED)) is None
    assert only_cell(*records, make_record(seed=2, val=0.1).model_copy(update={"test": {}})) is None
    chance = make_record(status=Status.CHANCE, task=accuracy, val=None).model_copy(
        update={"val": {"accuracy": 0.5}, "test": {"accuracy": 0.4}}
    )
    assert only_cell(chance) == {(0, 0): 0.4}


def test_thirty_rows_are_compared_once_resampled(monkeypatch):
    """A row is resampled for each side of a pair, not for each pair."""
    rows = [[seeded(values, start=10 * place)] for place, values in enumerate(drawn(3, seed=0, tasks=30))]
    comparison._resampled.cache_clear()
    ranks(rows, higher_is_better=True, log=False)
    assert comparison._resampled.cache_info().misses < 2 * len(rows)
