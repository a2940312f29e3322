import csv
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from lra_bench.core.errors import LraBenchError
from lra_bench.core.record import Status
from lra_bench.report.board import RAN_TO_THE_END
from lra_bench.report.build import build_report
from lra_bench.report.formats.exports import comma_separated, csv_safe, markdown, markdown_safe
from lra_bench.report.formats.terminal import WIDTH, terminal_text
from lra_bench.report.rate_table import rate_table
from lra_bench.report.sensitivity_frame import frame as sensitivity_frame
from tests.pages import HOSTILE, hostile_record, page_of
from tests.records import boards_of, frame_of_records, make_record, realistic_records

FIGURES = ("1-lds-sensitivity", "1-lds-curves", "1-lds-best", "1-lds-cost", "filters", "features")


def all_bytes(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    filters = (np.array([0.3, 0.02, 1e-4]), np.eye(16, 3))
    build_report(frame_of_records(realistic_records()), out, filters)
    return out


def test_files(report):
    assert {str(path) for path in all_bytes(report)} == {
        "index.html",
        "leaderboard.md",
        "leaderboard.csv",
        "leaderboard.tex",
        "sensitivity.csv",
        *(
            f"figures/{name}.{kind}"
            for name in (
                *(f"1-lds-{kind}" for kind in ("sensitivity", "curves", "best", "cost")),
                "filters",
                "features",
            )
            for kind in ("svg", "png", "pdf")
        ),
    }


def test_same_records_in_any_order_give_the_same_bytes(report, tmp_path):
    records = realistic_records()
    build_report(frame_of_records(records[1::2] + records[::2]), tmp_path, (np.array([0.3, 0.02, 1e-4]), np.eye(16, 3)))
    assert all_bytes(tmp_path) == all_bytes(report)


def test_failures_are_in_every_output():
    records = [make_record(seed=0), make_record(seed=1, val=None, status=Status.OOM, message="no memory left")]
    boards = boards_of(records)
    assert "1 oom" in markdown([rate_table(board) for board in boards])
    assert "1 oom" in terminal_text(rate_table(boards[0]))
    [line] = csv.DictReader(comma_separated(sensitivity_frame(boards)).splitlines())
    assert (line["failed_trials"], line["failures"], line["trials"]) == ("1", "1 oom", "2")
    page = page_of(records)
    assert "1 ok, 1 oom" in page
    assert "no memory left" in page


def test_numbers_of_the_table():
    records = [
        make_record(rate=rate, seed=seed, val=rate * (1 + seed / 10)) for rate in (0.01, 0.1) for seed in range(3)
    ]
    [board] = boards_of(records)
    table = rate_table(board)
    [entries] = table.rows
    shown = {column.header: entry.text for column, entry in zip(table.columns, entries, strict=True)}
    assert shown["Best rate"] == "0.01 (edge)"
    assert shown["Test nmse at best rate: median [interval]"] == "0.0110 [0.0100, 0.0120]"
    assert shown["n"] == "3"
    assert shown["Tolerance at nmse ≤ 0.1 (decades)"] == "≥ 0.0"
    assert shown["Tolerance at nmse ≤ 0.01 (decades)"] == "none"


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_strangers_does_nothing_in_a_terminal(text):
    [board] = boards_of([hostile_record(text, task=text)])
    assert terminal_text(rate_table(board)).replace("\n", "").isprintable()


def test_text_from_strangers_can_be_drawn_and_names_no_file(tmp_path):
    build_report(frame_of_records(hostile_record(text, task="../../<b>") for text in HOSTILE), tmp_path)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"1-b-{name}.{kind}" for name in ("sensitivity", "curves") for kind in ("svg", "png", "pdf")
    }


def test_markdown_and_csv_are_escaped():
    assert markdown_safe("a|b\n<i>`x`") == r"a\|b \<i\>\`x\`"
    for start in "=+-@":
        assert csv_safe(f"{start}1").startswith("'")
        assert csv_safe(f"\t{start}1").startswith("'")
    assert csv_safe("stu") == "stu"


def test_terminal_fits():
    records = [make_record("m" * 90, rate=rate, val=1.2345e-5, status=status) for rate, status in enumerate(Status, 1)]
    text = terminal_text(rate_table(boards_of(records)[0]))
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "m…m" in text


@pytest.mark.parametrize("status", [Status.OK, Status.DIVERGED])
def test_one_trial_is_enough(status, tmp_path):
    val = 0.1 if status is Status.OK else None
    content = build_report(frame_of_records([make_record(val=val, status=status)]), tmp_path / "new" / "folder")
    assert (content.folder / "index.html").exists()


def test_nothing_to_report_on(tmp_path):
    with pytest.raises(LraBenchError, match="quickstart"):
        build_report(frame_of_records([]), tmp_path)


def test_out_is_a_file(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(LraBenchError, match="cannot make the folder"):
        build_report(frame_of_records([make_record()]), tmp_path / "out")


def test_needs_neither_torch_nor_pyplot():
    code = (
        "import sys, lra_bench.report.build, lra_bench.report.formats.terminal, lra_bench.report.files.records;"
        "print([name for name in ('torch', 'lightning', 'wandb', 'matplotlib.pyplot') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


metric_values = st.none() | st.floats()
trials = st.lists(
    st.tuples(
        st.sampled_from(["stu", "lru"]),
        st.sampled_from([1e-3, 1e-2, 1e-1]),
        st.integers(0, 2),
        st.sampled_from(Status),
        metric_values,
        metric_values,
        st.sampled_from([{}, {"task": None}, {"task": None, "model": None}]),
        st.lists(metric_values, max_size=3),
    ),
    min_size=1,
    max_size=10,
    unique_by=lambda trial: trial[:3],
)


def mixture(drawn):
    return [
        make_record(
            name,
            rate,
            seed,
            val,
            test,
            status,
            curve=[{"step": step, "val": {"nmse": value}} for step, value in enumerate(curve)],
            **missing,
        )
        for name, rate, seed, status, val, test, missing, curve in drawn
    ]


@given(trials)
@settings(max_examples=60, deadline=None)
def test_every_trial_is_counted_whatever_became_of_it(drawn):
    records = mixture(drawn)
    boards = boards_of(records)
    counted = [trial.record for board in boards for trial in board.trials]
    assert sorted(record.trial_id for record in counted) == sorted(record.trial_id for record in records)
    lines = list(csv.DictReader(comma_separated(sensitivity_frame(boards)).splitlines()))
    assert sum(int(line["trials"]) for line in lines) == len(records)
    failed = sum(int(line["failed_trials"]) for line in lines)
    assert failed >= sum(record.status not in RAN_TO_THE_END for record in records)
    page = page_of(records)
    assert all(record.trial_id in page for record in records)
    for board in boards:
        assert max(map(len, terminal_text(rate_table(board)).splitlines())) <= WIDTH


@given(drawn=trials)
@example(drawn=[("stu", 1e-3, seed, Status.OK, val, val, {}, [val]) for seed, val in enumerate((1.7e308, 1.6e308))])
@example(drawn=[("stu", 1e-3, seed, Status.OK, val, val, {}, [val]) for seed, val in enumerate((1.7e308, -1.7e308))])
@example(drawn=[("stu", 1e-3, 0, Status.OK, 5e-324, 0.0, {}, [0.0])])
@example(drawn=[("stu", 1e-2, 0, Status.TIMEOUT, -1e-90, -1e-90, {}, [])])
@example(
    drawn=[
        ("stu", 1e-3, seed, Status.OK, val, val, {}, [val]) for seed, val in enumerate((1.2, 1.7976931348623157e308))
    ]
)
@settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_mixture_can_be_drawn(drawn, tmp_path):
    build_report(frame_of_records(mixture(drawn)), tmp_path)
    assert (tmp_path / "index.html").exists()
