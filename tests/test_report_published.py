import pytest

from lra_bench.core.errors import LraBenchError
from lra_bench.report.standings.published import COLUMNS, find_published, published, read_published
from lra_bench.report.standings.suites import CONVENTIONS, FIVE, SIX

ROW = "name: Mine, evidence: primary, source: {title: A paper, where: table 1}"


def read_one(fields):
    [row] = read_published(f"- {{{ROW}, {fields}}}", "mine.yaml")
    return row


def test_averages_by_hand():
    accuracy = "listops: 40, text: 60, retrieval: 70, image: 50, pathfinder: 80"
    row = read_one(f"accuracy: {{{accuracy}}}, failed: [pathx], image_input: gray")
    assert row.average(FIVE) == 60
    assert row.average(SIX) == pytest.approx((300 + 50) / 6)


def test_a_task_that_is_not_reported_leaves_no_average():
    row = read_one("accuracy: {listops: 40, text: 60, image: 50, pathfinder: 80, pathx: 90}, image_input: gray")
    assert row.average(FIVE) is row.average(SIX) is None


@pytest.mark.parametrize("pictures", ["rgb", "unclear"])
def test_what_is_not_of_grey_pictures_is_neither_shown_nor_averaged_as_image(pictures):
    accuracy = "listops: 40, text: 60, retrieval: 70, image: 50, pathfinder: 80, pathx: 90"
    row = read_one(f"accuracy: {{{accuracy}}}, image_input: {pictures}")
    assert row.percent("image") is None
    assert row.percent("image_rgb") == (50 if pictures == "rgb" else None)
    assert row.average(FIVE) is row.average(SIX) is None


def test_shipped_averages_are_the_printed_ones_or_are_said_to_differ():
    differing = {row.name for row in published() for convention in CONVENTIONS if row.misprint(convention)}
    assert differing == {"Sinkhorn Transformer", "LION-S", "LION-D", "S7"}
    agreeing = 0
    for row in published():
        for convention in CONVENTIONS:
            printed, ours = row.printed.get(convention.name), row.average(convention)
            if printed is not None and ours is not None and row.name not in differing:
                assert abs(printed - ours) <= 0.051, row.name
                agreeing += 1
    assert agreeing > 40


@pytest.mark.parametrize(
    ("name", "five", "six"),
    [("Transformer", 54.39, 53.66), ("S4-FouT", None, 77.90), ("S5", None, 87.46), ("Megalodon", None, 88.63)],
)
def test_printed_averages_of_known_conventions(name, five, six):
    row = find_published(name)
    if five is not None:
        assert row.average(FIVE) == pytest.approx(five, abs=0.006)
    assert row.average(SIX) == pytest.approx(six, abs=0.006)


def test_colour_numbers_of_the_lru_paper_are_not_grey():
    for name in ("LRU", "S5 (run again by LRU's authors)", "AR-STU"):
        row = find_published(name)
        assert row.percent("image") is None
        assert row.percent("image_rgb") == row.accuracy["image"]
    assert (find_published("S4D").percent("image"), find_published("S4D").percent("image_rgb")) == (88.19, 89.92)


def test_both_rows_of_the_stu_paper_say_that_they_disagree():
    ours, quoted = find_published("AR-STU"), find_published("Spectral SSM")
    assert (ours.evidence, quoted.evidence) == ("unverified", "secondary")
    assert "isagrees" in ours.note
    assert "isagrees" in quoted.note
    assert ours.shown == "AR-STU (unverified)"


def test_what_no_text_confirmed_is_left_out_or_says_so():
    assert {row.name for row in published() if row.evidence == "unverified"} == {
        "AR-STU",
        "Long convolutions",
        "SPADE",
        "Transformer + self-pretraining",
    }
    assert not any(name.startswith("STU") for name in (row.name for row in published()))
    assert find_published("FRACTAL").source.link is None
    assert find_published("S5").source.link == "https://arxiv.org/abs/2208.04933"


def test_names_and_aliases_are_found_whatever_their_capitals():
    assert find_published("s4").name == "S4-LegS"
    assert find_published("S5").name == "S5"
    assert find_published("dss").name == "DSS-softmax"


def test_an_unknown_name_gives_a_suggestion_and_the_list():
    with pytest.raises(LraBenchError, match=r"'Megalodn'\. Did you mean 'Megalodon'\? Known: Transformer, .*xLSTM\.$"):
        find_published("Megalodn")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[", "mine.yaml is not valid YAML"),
        ("- {name: Mine}", "mine.yaml is not a list of published rows: 0.evidence: Field required"),
        (f"- {{{ROW}, accuracy: {{listops: 101}}}}", "0.accuracy.listops: "),
        (f"- {{{ROW}, accuracy: {{imagenet: 50}}}}", f"must be one of {', '.join(COLUMNS)}"),
        (f"- {{{ROW}, accuracy: {{image: 50}}}}", "image_input is to be given"),
        (f"- {{{ROW}, accuracy: {{text: 60}}, failed: [text]}}", "failed may name"),
        (f"- {{{ROW}, accuracy: {{text: 60}}, failed: [listops]}}", "failed may name"),
        (f"- {{{ROW}, accuracy: {{text: 60}}, spread: {{pathx: 1}}}}", "spread is of a task that has no accuracy"),
        (f"- {{{ROW}, accuracy: {{}}}}", "accuracy holds no task"),
        (f"- {{{ROW}, accuracy: {{text: 60}}, comment: x}}", "0.comment: Extra inputs are not permitted"),
        (f"- &a {{{ROW}, accuracy: {{text: 60}}}}\n- *a", "two rows that are called mine"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_one_line(text, reason):
    with pytest.raises(LraBenchError) as error:
        read_published(text, "mine.yaml")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)
