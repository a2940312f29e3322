"""docs/report/ and docs/findings.md are what results/ gives; and what is counted there is counted right."""

import difflib
import math
import re
import shutil
from pathlib import Path

import pytest

from lra_bench.core.errors import ConfigError, FileError, LraBenchError
from lra_bench.core.record import CurvePoint, Status
from lra_bench.exhibits import build, findings
from lra_bench.exhibits.exhibit import shown
from lra_bench.exhibits.filter_counts import fall, filter_counts_table, theory
from lra_bench.exhibits.lra import NOT_LEARNED, lra_table
from lra_bench.exhibits.records import read_studies
from lra_bench.exhibits.rerun import repetition, rerun
from lra_bench.exhibits.results import results_table
from lra_bench.exhibits.samples import first_reach, reached, samples_table
from lra_bench.exhibits.spec import Exhibit, read
from lra_bench.exhibits.tables import tables
from lra_bench.report.files.merging import merge
from lra_bench.report.files.records import find_trials
from lra_bench.report.files.submissions import Submission
from lra_bench.report.trial import measured
from lra_bench.trials.sweepfile import shipped_sweeps
from tests.conftest import TINY
from tests.records import boards_of, make_config, make_lra_record, make_record

ROOT = Path(__file__).parent.parent
STUDIES = sorted(path.name for path in (ROOT / "results").glob("*/") if (path / "submission.yaml").exists())
AGAIN = "If this is what you want: make exhibits"


def differences(files: dict[Path, str]) -> list[str]:
    """The first lines in which committed files are not as they are made now, each cut to what can be read."""
    found: list[str] = []
    for path, text in files.items():
        committed = (ROOT / path).read_bytes().decode() if (ROOT / path).exists() else ""
        if committed != text:
            names = f"committed {path}", f"made now {path}"
            found += list(difflib.unified_diff(committed.splitlines(), text.splitlines(), *names, n=0, lineterm=""))
    return [line[:300] for line in found[:40]]


def test_the_exhibits_and_the_findings_are_what_the_records_give():
    exhibits = read(ROOT)
    studies = read_studies(ROOT, {study for exhibit in exhibits for study in exhibit.studies})
    files = build.exhibit_files(ROOT, studies)
    assert not (lines := differences(files)), "\n".join([*lines, "", AGAIN])
    there = {path.relative_to(ROOT) for path in (ROOT / build.REPORT).rglob("*") if path.is_file()}
    ours = {build.REPORT / study / name for study in studies for name in build.KEPT} | set(files)
    assert there <= ours, f"docs/report/ holds what is not made: {sorted(map(str, there - ours))}"
    whole = tuple(f"{exhibit.id}-" for exhibit in exhibits if set(exhibit.studies) <= set(studies))
    for name in re.findall(r"\]\(report/figures/([^)]+)\)", files[findings.PLACE]):
        assert build.REPORT / "figures" / name in ours or not name.startswith(whole), name


@pytest.mark.parametrize("study", STUDIES)
def test_the_report_of_a_study_is_what_its_records_give(study):
    if study not in {name for exhibit in read(ROOT) for name in exhibit.studies}:
        pytest.skip("no exhibit shows it")
    files = build.study_files(ROOT, study, read_studies(ROOT, [study])[study])
    assert not (lines := differences(files)), "\n".join([*lines, "", AGAIN])


EXHIBITS = """
- id: figure-3a
  title: Curves
  question: How many steps?
  records:
    - study: curves
      where: [task.seq_len=512]
  pictures: [best]
  tables: [samples, results]
- id: figure-2
  title: A drawing
  question: What is computed?
  filters: {seq_len: 16, num_filters: 3}
  pictures: [features]
"""
BEFORE = "Before.\n\n![A](report/figures/figure-3a-1-lds-best.svg)\n\n"
FINDINGS = BEFORE + "<!-- exhibit: figure-3a {} -->\nold\n<!-- end -->\n\nAfter.\n"


def curve_of(*values):
    return [CurvePoint(step=100 * place, val={"nmse": value}) for place, value in enumerate(values, 1)]


def curve_records():
    for seed in range(3):
        yield make_record("stu", 0.01, seed, 0.001, study="curves", curve=curve_of(0.4, 0.05, 0.004, 0.001))
        yield make_record("lru", 0.01, seed, 0.04, study="curves", curve=curve_of(0.9, 0.8, 0.3, 0.04))


@pytest.fixture
def checkout(tmp_path):
    """A checkout with two exhibits and the records of one study."""
    for record in curve_records():
        config = {**record.config, "train": {**record.config["train"], "val_every": 100}}
        folder = tmp_path / "runs" / record.trial_id
        folder.mkdir(parents=True)
        record.model_copy(update={"config": config}).write(folder / "record.json")
    (tmp_path / "results").mkdir()
    submission = Submission(schema_version=1, name="curves", by="us", records={})
    merge(find_trials([tmp_path / "runs"])[0], tmp_path / "results" / "curves", submission)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "exhibits.yaml").write_text(EXHIBITS)
    (tmp_path / "docs" / "findings.md").write_text(FINDINGS.format("samples"))
    return tmp_path


def test_everything_is_made_of_the_records_and_the_same_again(checkout):
    written = build.write(checkout)
    first = {path: (checkout / path).read_bytes() for path in written}
    assert {path.relative_to(checkout) for path in (checkout / "docs" / "report").rglob("*.*")} <= set(written)
    build.write(checkout)
    assert {path: (checkout / path).read_bytes() for path in written} == first
    assert [path.name for path in written if path.suffix == ".svg"] == ["figure-3a-1-lds-best.svg"]
    page = first[build.REPORT / "index.html"].decode()
    assert "one of 6 records" in page
    assert "<script" not in page
    for link in re.findall(r'href="([^"#:]+)"', page):
        assert (checkout / build.REPORT / link).exists(), link
    text = (checkout / "docs" / "findings.md").read_text()
    assert text.startswith(
        "Before.\n\n![A](report/figures/figure-3a-1-lds-best.svg)\n\n<!-- exhibit: figure-3a samples -->\n"
    )
    assert text.endswith("<!-- end -->\n\nAfter.\n")
    assert "| 0.500 | 100 \\[100, 100\\] | 300 \\[300, 300\\] | 3 \\[3, 3\\] | 3 of 3 |" in text


def test_a_study_without_records_is_named_and_changes_nothing_else(checkout):
    shutil.rmtree(checkout / "results" / "curves")
    build.write(checkout)
    page = (checkout / build.REPORT / "index.html").read_text()
    assert "There are no records yet of curves." in page
    assert 'id="figure-2-features"' in page
    assert "no records yet of curves" in (checkout / "docs" / "findings.md").read_text()


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        ("pictures: [best]", "pictures: [worst]", "is wrong at 0.pictures.0"),
        ("question: How many steps?", "", "is wrong at 0.question: Field required"),
        ("id: figure-2", "id: figure-3a", "has figure-3a twice"),
        ("study: curves", "study: ../curves", "is wrong at 0.records.0.study"),
        ("title: Curves", "title: [", "is no YAML"),
    ],
)
def test_a_wrong_exhibit_is_named(checkout, was, now, message):
    (checkout / "docs" / "exhibits.yaml").write_text(EXHIBITS.replace(was, now))
    with pytest.raises(FileError, match=re.escape(message)):
        build.write(checkout)


def test_a_selection_of_nothing_says_what_there_is(checkout):
    (checkout / "docs" / "exhibits.yaml").write_text(EXHIBITS.replace("seq_len=512", "seq_len=7"))
    with pytest.raises(LraBenchError, match=r"no record has task\.seq_len=7; task\.seq_len is 512"):
        build.write(checkout)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FINDINGS.format("usable"), "has a block of figure-3a usable; there is samples, results, conditions"),
        (FINDINGS.format("samples").replace("figure-3a", "figure-9"), "has a block of figure-9, which is no exhibit"),
        (FINDINGS.format("samples").replace("<!-- end -->", ""), "has a block that is not"),
    ],
)
def test_a_wrong_block_is_named(checkout, text, message):
    (checkout / "docs" / "findings.md").write_text(text)
    with pytest.raises(FileError, match=re.escape(message)):
        build.write(checkout)


def test_a_block_of_conditions_is_read_off_the_records(checkout):
    exhibit = read(checkout)[0]
    made = {exhibit.id: shown(exhibit, read_studies(checkout, exhibit.studies))}
    text = findings.with_blocks(FINDINGS.format("conditions"), made, checkout)
    assert "- Trials: 6\n" in text
    assert "- Seeds: 0, 1, 2\n" in text
    assert "- Commit: 56c6f7912d0a\n" in text


def test_a_table_without_rows_is_an_error(checkout):
    exhibit = read(checkout)[0].model_copy(update={"tables": ("filter_counts",)})
    with pytest.raises(ConfigError, match="figure-3a have nothing for its table filter_counts"):
        shown(exhibit, read_studies(checkout, exhibit.studies))


def test_ranges_at_both_thresholds_and_the_verdict_on_a_search():
    exhibit = Exhibit(id="a", title="b", question="c", tables=("usable_range", "search"))
    found = tables(exhibit, boards_of(curve_records()))
    tenth, hundredth, failures = found["usable_range"]
    assert [[row[1].text == "none" for row in table.rows] for table in (tenth, hundredth)] == [
        [False, False],
        [True, False],
    ]
    assert [row[0].text for row in failures.rows] == ["lru", "stu"]
    [counts] = found["search"]
    assert [entry.text for entry in counts.rows[0][:6]] == ["lru", "stu", "1", "0", "0", "1"]


def test_the_first_step_at_or_below_an_error():
    curve = ((10, 0.5), (20, 0.1), (30, 0.2))
    assert [first_reach(curve, error) for error in (0.6, 0.5, 0.15, 0.1, 0.05)] == [10, 10, 20, 20, math.inf]


def test_ratios_are_of_each_seed_and_bounds_are_counted():
    """The second seed of the model never gets to 0.1, its reference does at step 10; neither gets to 0.01."""
    model = [((10, 0.9), (40, 0.1)), ((10, 0.9), (40, 0.4))]
    reference = [((10, 0.4), (20, 0.1)), ((10, 0.1), (20, 0.1))]
    half, tenth, hundredth, _, lowest = reached(model, reference, chance=1.0)
    assert (half.ratio.minimum, half.ratio.maximum, half.bounds) == (4, 4, 0)
    assert (tenth.ratio.minimum, tenth.ratio.maximum, tenth.bounds) == (2, 4, 1)
    assert (tenth.model.minimum, tenth.model.maximum) == (40, math.inf)
    assert (hundredth.ratio, hundredth.bounds) == (None, 0)
    assert (lowest.ratio.minimum, lowest.ratio.maximum, lowest.bounds) == (2, 4, 0)


def test_a_model_that_never_gets_there_is_a_bound():
    [record, *_] = curve_records()
    config = {**record.config, "train": {**record.config["train"], "val_every": 100}}
    records = [
        each.model_copy(update={"config": {**config, "model": each.config["model"]}}) for each in curve_records()
    ]
    table = samples_table(boards_of(records), "lru", "stu")
    hundredth = table.rows[2]
    assert [entry.text for entry in hundredth] == [
        "0.0100",
        "300 [300, 300]",
        "> 400 [> 400, > 400]",
        "≥ 1.33 [1.33, 1.33]",
        "0 of 3",
    ]


def test_where_the_error_stops_falling():
    found = fall({1: 1.0, 2: 0.1, 3: 0.01, 4: 0.001, 5: 0.00199, 6: 0.0008})
    assert found.plateau == 4
    assert found.slope == pytest.approx(1.0)
    assert found.orders == pytest.approx(math.log10(1 / 0.0008))
    assert fall({7: 0.3}).plateau == 7
    assert theory(512) == pytest.approx(0.17178, rel=1e-4)


def test_a_fall_for_each_way_of_training():
    records = [
        make_record(
            "stu",
            0.01,
            seed,
            10.0**-count,
            trial_id=f"{name}-{count}-{seed}",
            config={
                **(config := make_config("stu", 0.01, seed, num_filters=count)),
                "optim": {**config["optim"], "name": name},
            },
        )
        for name in ("adam", "least_squares")
        for count in (1, 2, 3)
        for seed in (0, 1)
    ]
    table = filter_counts_table(boards_of(records))
    assert [[entry.text for entry in row[:6]] for row in table.rows] == [
        [
            f"stu optim.name={name}",
            "1 to 3",
            "0.100 [0.100, 0.100]",
            "0.00100 [0.00100, 0.00100]",
            "2.00 [2.00, 2.00]",
            "3 [3, 3]",
        ]
        for name in ("adam", "least_squares")
    ]


def lra_records(**changes):
    for seed, (good, bad) in enumerate(((0.40, 0.18), (0.42, 0.19), (0.44, 0.175))):
        yield make_lra_record("image", "stu", seed=seed, val=good)
        yield make_lra_record("image", "transformer", seed=seed, val=bad, **changes)


def test_what_is_not_above_the_floor_by_more_than_its_interval_is_not_learned():
    [stu, transformer] = lra_table(boards_of(lra_records())).rows
    assert [entry.text for entry in stu[:4]] == ["stu", "42.0 [40.0, 44.0]", "17.0", "yes"]
    assert [entry.text for entry in transformer[:4]] == ["transformer", "18.0 [17.5, 19.0]", "17.0", NOT_LEARNED]


def test_budgets_and_sizes_that_are_not_equal_are_said():
    [equal] = lra_table(boards_of(lra_records())).remarks
    assert equal.startswith("image: the budget of all models is 400 steps of 1 examples; parameters differ by ")
    assert equal.endswith(" at most 0.0 %, within 10 %; the floor is the bag of tokens.")
    larger = make_record().model.model_copy(update={"parameters": 1500})
    config = make_lra_record("image", "transformer").config
    longer = {**config, "train": {**config["train"], "max_steps": 800}}
    [unequal] = lra_table(boards_of(lra_records(model=larger, config=longer))).remarks
    assert "budgets are not equal: 400 steps of 1 examples; 800 steps of 1 examples" in unequal
    assert "parameters differ by at most 21.6 %, not within 10 %;" in unequal


def test_results_of_several_boards_stand_side_by_side():
    def record(model, length, value, seed):
        config = make_config(model, 0.01, seed)
        config["task"]["seq_len"] = length
        return make_record(
            model,
            0.01,
            seed,
            value,
            trial_id=f"{model}-{length}-{seed}",
            config=config,
            status=Status.OK if value else Status.DIVERGED,
        )

    records = [record("stu", length, 0.1 * length, seed) for length in (1, 2) for seed in range(3)]
    records += [record("lru", 2, None, seed) for seed in range(3)]
    table = results_table(boards_of(records))
    assert [column.header for column in table.columns] == ["Model", "lds seq_len=1", "lds seq_len=2"]
    assert [[entry.text for entry in row] for row in table.rows] == [
        ["lru", "–", "failed"],
        ["stu", "0.100 [0.100, 0.100]", "0.200 [0.200, 0.200]"],
    ]


def test_a_repetition_is_inside_or_outside_the_recorded_interval():
    recorded = [make_record("stu", 0.01, seed, value) for seed, value in enumerate((0.1, 0.2, 0.3))]
    recorded += [make_record("lru", 0.01, seed, 0.5) for seed in range(3)]
    recorded += [make_record("s4d", 0.01, seed, 0.5) for seed in range(3)]
    again = [make_record("stu", 0.01, seed, 0.29) for seed in range(3)]
    again += [make_record("lru", 0.01, seed, 0.6) for seed in range(3)]
    table = repetition("study", measured(recorded), measured(again))
    assert {row[1].text: row[-1].text for row in table.rows} == {"stu": "inside", "lru": "outside", "s4d": "not run"}
    assert table.title == "study: 1 of 3 medians lie inside the recorded interval"


def test_only_what_is_measured_can_be_measured_again(checkout):
    with pytest.raises(ConfigError, match="there is no exhibit 'figure-9'; there is figure-3a, figure-2"):
        rerun(checkout, "figure-9")
    with pytest.raises(ConfigError, match="there is nothing to measure again"):
        rerun(checkout, "figure-2")


def test_one_model_is_measured_again_as_it_was_recorded(checkout, cli):
    for seed in (0, 1):
        for rate in ("0.01", "1e-9"):
            words = (
                "task=lds",
                "model=stu",
                "optim.name=adam",
                f"optim.lr={rate}",
                f"seed={seed}",
                "study=tiny",
                *TINY,
            )
            cli("train", *words, "out_dir=before")
    submission = Submission(schema_version=1, name="tiny", by="us", records={})
    merge(find_trials([Path("before")])[0], checkout / "results" / "tiny", submission)
    text = EXHIBITS.replace("study: curves\n      where: [task.seq_len=512]", "study: tiny")
    (checkout / "docs" / "exhibits.yaml").write_text(text)
    with pytest.raises(ConfigError, match="figure-3a has no results of the model 'lru'"):
        rerun(checkout, "figure-3a", "lru")
    (table,) = rerun(checkout, "figure-3a", "stu")
    assert [row[-1].text for row in table.rows] == ["inside"]
    again = find_trials([Path("runs/tiny")])[0]
    assert {(trial.record.config["optim"]["lr"], trial.record.seed) for trial in again} == {(0.01, 0), (0.01, 1)}


def test_every_study_is_measured_by_sweeps_that_there_are():
    run = {words[2] for exhibit in read(ROOT) for words in exhibit.commands}
    assert run <= set(shipped_sweeps())


def test_an_exhibit_is_strict():
    with pytest.raises(ValueError, match="extra"):
        Exhibit(id="a", title="b", question="c", colour="red")
