import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, PackageLoader
from scipy import stats

from lra_bench.report.statistics import coverage, summarise

NORMAL, LOG_NORMAL, UNIFORM = stats.norm(), stats.lognorm(1.0), stats.uniform()
SIMULATED = 20_000


def bounds(samples):
    """Lower and upper ends of the intervals of some samples, (N, n) -> (N,), by the places that `summarise` takes."""
    n = samples.shape[1]
    places = summarise(list(range(n)))
    ordered = np.sort(samples, axis=1)
    return ordered[:, int(places.low)], ordered[:, int(places.high)]


def percentile_bootstrap(samples, resamples=1_000):
    """The same by the percentile bootstrap of the median."""
    n = samples.shape[1]
    drawn = np.random.default_rng(1).integers(n, size=(resamples, n))
    medians = np.concatenate([np.median(part[:, drawn], axis=2) for part in np.array_split(samples, 20)])
    low, high = np.quantile(medians, [0.025, 0.975], axis=1, method="inverted_cdf")
    return low, high


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 7, 10, 15, 30])
@pytest.mark.parametrize("law", [NORMAL, LOG_NORMAL, UNIFORM], ids=["normal", "log-normal", "uniform"])
def test_intervals_cover_as_they_claim(n, law):
    samples = law.rvs((SIMULATED, n), random_state=np.random.default_rng(n))
    low, high = bounds(samples)
    covered = np.mean((low <= law.median()) & (law.median() <= high))
    tolerance = 4 * math.sqrt(coverage(n) * (1 - coverage(n)) / SIMULATED)
    assert covered == pytest.approx(coverage(n), abs=tolerance)
    assert coverage(n) >= 0.95 or n < 6


def test_places_of_the_interval_are_the_same_for_any_values():
    values = np.random.default_rng(3).lognormal(size=(200, 12))
    low, high = bounds(values)
    found = [summarise(row) for row in values]
    assert [(each.low, each.high) for each in found] == list(zip(low, high, strict=True))


@pytest.mark.parametrize("n", range(1, 80))
def test_coverage_is_that_of_binomial_quantiles(n):
    places = summarise(list(range(n)))
    left_out = int(places.low)
    assert n - 1 - int(places.high) == left_out
    assert coverage(n) == pytest.approx(1 - 2 * stats.binom.cdf(left_out, n, 0.5))
    narrower = 1 - 2 * stats.binom.cdf(left_out + 1, n, 0.5)
    assert narrower < 0.95, "a narrower interval would do"


def test_many_values():
    assert 0.95 <= coverage(3000) < 0.96


def test_the_bootstrap_would_not_cover():
    """Why the interval of the median is none: at seven values it misses more than twice as often as it says."""
    samples = np.random.default_rng(7).normal(size=(1_500, 7))
    low, high = percentile_bootstrap(samples)
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(0.875, abs=0.025)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 9])
def test_the_bootstrap_would_give_the_same(n):
    samples = np.random.default_rng(n).normal(size=(20, n))
    assert np.array_equal(percentile_bootstrap(samples, 20_000), bounds(samples))


def test_failed_values():
    summary = summarise([0.3, math.inf, 0.1, 0.2, 0.4, 0.5, math.inf, 0.6, 0.7])
    assert (summary.low, summary.median, summary.high) == (0.2, 0.5, math.inf)
    assert (summary.mean, summary.minimum, summary.maximum) == (math.inf, 0.1, math.inf)
    scores = summarise([-math.inf, -math.inf, 0.9])
    assert (scores.low, scores.median, scores.high, scores.mean) == (-math.inf, -math.inf, 0.9, -math.inf)
    assert summarise([math.inf] * 4).low == math.inf


finite = st.floats(-1e300, 1e300)


@given(st.lists(finite | st.just(math.inf), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_order_plays_no_part_and_the_interval_holds_the_median(values, random):
    summary = summarise(values)
    shuffled = random.sample(values, len(values))
    assert summarise(shuffled) == summary
    assert summary.minimum <= summary.low <= summary.median <= summary.high <= summary.maximum
    assert {summary.low, summary.high} <= set(values)


def test_the_page_says_what_the_intervals_are_worth():
    page = Environment(loader=PackageLoader("lra_bench.report.formats"), autoescape=True)
    text = " ".join(page.get_template("reading_statistics.html").render().split())
    names = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    for n, name in enumerate(names, start=2):
        said = re.search(rf"([\d.]+) % (?:for|at) {name}|{name} (?:cover )?with ([\d.]+) %", text, re.IGNORECASE)
        assert said is not None, name
        assert float(said[1] or said[2]) == pytest.approx(100 * coverage(n), abs=0.05)
