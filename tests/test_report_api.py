"""What a notebook can do, which is what the command line does."""

import itertools
import subprocess
import sys

import pytest
from matplotlib.figure import Figure

from lra_bench import report
from lra_bench.core.errors import LraBenchError
from lra_bench.core.record import Status
from tests.records import make_record


@pytest.fixture
def runs(tmp_path):
    """Two models, two rates, three seeds, one failure; and a file that is no record."""
    for name, rate, seed in itertools.product(("stu", "lru"), (0.01, 0.1), range(3)):
        failed = (name, rate, seed) == ("lru", 0.1, 2)
        record = make_record(
            name,
            rate,
            seed,
            val=None if failed else rate * (1 + seed) * (1 if name == "stu" else 2),
            status=Status.OOM if failed else Status.OK,
            message="no memory left" if failed else None,
        )
        folder = tmp_path / "runs" / record.trial_id
        folder.mkdir(parents=True)
        record.write(folder / "record.json")
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "record.json").write_text("{")
    return tmp_path / "runs"


def test_every_file_is_a_row(runs):
    frame = report.load_records(runs)
    assert frame["status"].value_counts().to_dict() == {"ok": 11, "oom": 1, "unreadable": 1}
    [broken] = frame[frame["status"] == "unreadable"].itertuples()
    assert broken.file == str(runs / "broken" / "record.json")
    assert broken.message
    best = frame[frame["status"] == "ok"].groupby(["model", "learning_rate"])["val"].median()
    assert best["stu", 0.01] == pytest.approx(0.02)
    assert best["lru", 0.1] == pytest.approx(0.3)


def test_tables_of_a_part(runs):
    frame = report.load_records(runs)
    rates = report.sensitivity(frame).set_index("model")
    assert rates.loc["stu", "best_rate"] == 0.01
    assert rates.loc["lru", "failed_trials"] == 1
    some = report.leaderboard(frame[frame["model"] == "stu"])
    [stu] = some[some["tier"] == "measured"].itertuples()
    assert stu.model == "stu"
    assert stu.median == pytest.approx(0.02)


def test_figures_of_a_board(runs):
    [board] = report.boards(report.load_records(runs))
    assert isinstance(report.sensitivity_figure(board), Figure)
    assert isinstance(report.curves_figure(board), Figure)


def test_the_whole_report(runs, tmp_path):
    content = report.build_report(report.load_records(runs), tmp_path / "out")
    assert "broken" in (content.folder / "index.html").read_text()
    assert {path.name for path in content.folder.iterdir()} == {
        "figures",
        "index.html",
        "leaderboard.csv",
        "leaderboard.md",
        "leaderboard.tex",
        "sensitivity.csv",
    }


def test_a_table_without_its_trials(runs):
    with pytest.raises(LraBenchError, match="no column `trial`"):
        report.leaderboard(report.load_records(runs)[["model", "status"]])


def test_names_are_found_when_they_are_used():
    code = "import sys, lra_bench.report as r; print('pandas' in sys.modules, callable(r.load_records), dir(r) != [])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False", "True", "True"]
    with pytest.raises(AttributeError, match="no attribute 'leaderbord'"):
        _ = report.leaderbord  # type: ignore[attr-defined]
