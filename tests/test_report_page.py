import base64
import hashlib
import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from lra_bench.core.record import Status, Tracking
from lra_bench.report.aggregate import aggregate
from lra_bench.report.content import Problem
from lra_bench.report.figures.gallery import board_drawings
from lra_bench.report.formats.links import followable, relative_address
from lra_bench.report.formats.page import render
from lra_bench.report.formats.page_tables import cells_table, failed_table, trials_table
from lra_bench.report.table import Entry, Group
from lra_bench.report.trial import Trial
from tests.pages import (
    ADDRESSES,
    SCRIPTING,
    content_of,
    hostile_problem,
    hostile_record,
    hostile_table,
    leaderboard,
    page_of,
    painted,
    picture,
    tags_of,
)
from tests.records import boards_of, make_record, realistic_records

PROBLEM = Problem(Path("runs/a/record.json"), "not JSON")


@pytest.fixture(scope="module")
def page():
    return page_of(
        realistic_records(), leaderboards=(leaderboard(),), problems=(PROBLEM,), pictures=(picture("filters"),)
    )


def cells_of(page, name):
    """The table's text below an id, a list of lines, tags taken away."""
    table = re.search(r"<table.*?</table>", page[page.index(f'id="{name}"') :], re.DOTALL).group()
    lines = re.findall(r"<tr.*?</tr>", table, re.DOTALL)
    return [
        [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", line, re.DOTALL)] for line in lines
    ]


def test_well_formed_self_contained_and_accessible(page):
    tags = tags_of(page)
    assert len(tags.ids) == len(set(tags.ids))
    for tag, attributes in tags.tags:
        assert "src" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        assert tag != "th" or attributes.get("scope") in ("row", "col", "rowgroup")
        for name in ("aria-labelledby", "for"):
            assert set((attributes.get(name) or "").split()) <= set(tags.ids)
    inside = set(re.findall(r'href="#([^"]+)"', page)) | set(re.findall(r"url\(#([^)]+)\)", page))
    assert inside <= set(tags.ids)
    assert page.count("<table") == page.count("<caption>")


def test_ids_of_real_figures_are_all_different():
    content = content_of(realistic_records())
    [section] = content.sections
    section = replace(section, pictures=painted(board_drawings(section.board, 1)[:2]))
    page = render(replace(content, sections=(section,)))
    tags = tags_of(page)
    assert len(tags.ids) == len(set(tags.ids))
    targets = set(re.findall(r'href="#([^"]+)"', page)) | set(re.findall(r"url\(#([^)]+)\)", page))
    assert targets <= set(tags.ids)
    assert [tag for tag, _ in tags.tags].count("svg") == 2


def test_headings_go_down_one_level_at_a_time(page):
    levels = [int(tag[1]) for tag, _ in tags_of(page).tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(lower - upper <= 1 for upper, lower in pairwise(levels))


def test_policy_allows_the_one_script_and_nothing_else(page):
    [policy] = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    [script] = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules == {
        "default-src": "'none'",
        "script-src": f"'sha256-{digest}'",
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert page.index("Content-Security-Policy") < page.index("<script")


def test_same_content_gives_the_same_page(page):
    records = realistic_records()
    again = page_of(
        records[1::2] + records[::2],
        leaderboards=(leaderboard(),),
        problems=(PROBLEM,),
        pictures=(picture("filters"),),
    )
    assert again == page


def test_header_counts_trials_statuses_tiers_and_files_left_out():
    records = [make_record(seed=0), make_record(seed=1, val=None, status=Status.OOM)]
    trials = [Trial(record) for record in records] + [Trial(make_record("lru"), submission="theirs")]
    facts = content_of(records)
    sections = tuple(replace(facts.sections[0], board=board) for board in aggregate(trials))
    page = render(replace(facts, sections=sections, problems=(PROBLEM,)))
    shown = re.findall(r"<dt>([^<]*)</dt><dd>(?:<a[^>]*>)?([^<]*)", page[: page.index("<nav")])
    assert shown == [
        ("Trials", "3"),
        ("By status", "2 ok, 1 oom"),
        ("Measured here", "2"),
        ("Submitted", "1 theirs"),
        ("Files left out", "1"),
    ]


def test_mixed_protocols_are_printed_on_the_page_and_only_then():
    assert "Mixed protocols." in page_of([make_record()], mixed=True)
    assert "Mixed protocols." not in page_of([make_record()])


def test_files_left_out_are_listed_with_their_reason(page):
    assert cells_of(page, "problems") == [["File", "Reason"], ["../runs/a/record.json", "not JSON"]]
    assert "1 file left out." in page
    assert "left out." not in page_of([make_record()])


def test_leaderboard_keeps_groups_notes_and_marks(page):
    lines = cells_of(page, "leaderboards")
    assert [line[0] for line in lines] == [
        "Model",
        "Measured",
        "s5",
        "stu num_filters=24",
        "lru",
        "transformer",
        "Quoted from papers",
        "S5 (Smith et al., 2023)",
        "Transformer (Tay et al., 2021)",
    ]
    assert '<td data-value="62.1"><strong>62.1 [61.7, 62.4]</strong></td>' in page
    assert '<a href="https://arxiv.org/abs/2208.04933" rel="noreferrer">S5 (Smith et al., 2023)</a>' in page
    notes = re.findall(r'<p id="leaderboard-1-note-(\d)"><sup>\1</sup> ([^<]*)</p>', page)
    assert notes == [
        ("1", "Rank: Rows that cannot be told apart share a rank."),
        ("2", "Average of five: Without Path-X."),
        ("3", "Average of six: A failed binary task counts as 50."),
    ]
    assert page.count('href="#leaderboard-1-note-') == 3


@pytest.mark.parametrize(
    ("entry", "attribute"),
    [
        (Entry("0.0120", 0.01199), ' data-value="0.01199"'),
        (Entry("1.23", 1.2345678901234567), ' data-value="1.23456789"'),
        (Entry("12", 12), ""),
        (Entry("12", 12.0), ""),
        (Entry("failed", math.inf), ' data-value=""'),
        (Entry("none", math.nan), ' data-value=""'),
        (Entry("stu", "stu"), ""),
    ],
)
def test_what_entries_are_sorted_by(entry, attribute):
    table = replace(leaderboard(), groups=(Group("", ((Entry("a", "a"), entry),)),))
    assert f'<th scope="row">a</th><td{attribute}>{entry.text}</td>' in page_of([make_record()], leaderboards=(table,))


def test_trials_link_to_their_folder_and_to_their_run():
    tracking = Tracking(backend="wandb", mode="online", run_id="r1", url="https://wandb.ai/us/lra/runs/r1")
    trials = [
        Trial(make_record(tracking=tracking), Path("runs/study one/t:1/record.json")),
        Trial(make_record(seed=1)),
    ]
    [board] = aggregate(trials)
    first, second = trials_table(board, Path("report")).rows
    assert (first[0].text, first[0].link) == ("stu-0.001-0", "../runs/study%20one/t%3A1/")
    assert (first[-1].text, first[-1].link) == ("r1", "https://wandb.ai/us/lra/runs/r1")
    assert (second[0].link, second[-1].link, second[-1].text) == (None, None, "–")


def test_untracked_trials_need_no_column():
    headers = [column.header for column in trials_table(boards_of([make_record()])[0], Path("report")).columns]
    assert "W&B" not in headers


def test_a_run_at_no_address_of_the_web_is_named_and_not_linked():
    tracking = Tracking(backend="wandb", mode="online", run_id="r1", url="javascript:alert(1)")
    [board] = boards_of([make_record(tracking=tracking)])
    [line] = trials_table(board, Path("report")).rows
    assert (line[-1].text, line[-1].link) == ("javascript:alert(1)", None)


def test_every_trial_and_every_failure_has_a_line():
    records = [make_record(seed=0), make_record(seed=1, val=None, status=Status.OOM, message="no memory left")]
    [board] = boards_of(records)
    assert [line[6].text for line in trials_table(board, Path("report")).rows] == ["ok", "oom"]
    [line] = failed_table([board], Path("report")).rows
    assert [entry.text for entry in line] == ["stu-0.001-1", "lds", "stu", "0.001", "1", "oom", "400", "no memory left"]
    [cell] = cells_table(board).rows
    assert [entry.text for entry in cell][-1] == "1 oom"


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_link_leads_there(address):
    assert followable(address) is None
    page = page_of([make_record()], leaderboards=(hostile_table(address),))
    links = {attributes.get("href") for tag, attributes in tags_of(page).tags if tag == "a"}
    assert {link for link in links if not link.startswith("#")} == set()


@pytest.mark.parametrize("address", ["https://wandb.ai/a/b", "http://localhost:8080/x?y=1#z", "../runs/a/", "./a%20b"])
def test_links_lead_there(address):
    assert followable(address) == address


@pytest.mark.parametrize(
    ("path", "folder", "address"),
    [
        ("runs/a b/c", "report", "../runs/a%20b/c"),
        ("report/runs", "report", "./runs"),
        ("javascript:1", ".", "./javascript%3A1"),
        ("a\"<b>'", ".", "./a%22%3Cb%3E%27"),
        ("..", "report/new", "../../.."),
    ],
)
def test_addresses_relative_to_the_page(path, folder, address):
    assert relative_address(Path(path), Path(folder)) == address
    assert followable(address) == address


@pytest.mark.parametrize("text", SCRIPTING)
def test_text_from_strangers_stays_text(text):
    page = page_of(
        [hostile_record(text, task=text)], leaderboards=(hostile_table(text),), problems=(hostile_problem(text),)
    )
    names = [tag for tag, _ in tags_of(page).tags]
    assert "54439" not in page
    assert (names.count("script"), names.count("style"), names.count("svg")) == (1, 1, 1)
    assert not {"img", "iframe"} & set(names)
    assert not any(name.startswith("on") for _, attributes in tags_of(page).tags for name in attributes)


def test_pictures_are_as_wide_as_they_say():
    wide = '<svg height="20pt" width="756.4pt"></svg>'
    page = page_of([make_record()], pictures=(picture("wide", wide),))
    assert re.search(r'<figure id="wide">\s*<div class="card" [^>]*style="--width: 756">', page)
    assert wide in page


def test_long_tables_are_folded_and_short_ones_are_open():
    def failed(count):
        return page_of([make_record(seed=seed, val=None, status=Status.ERROR) for seed in range(count)])

    assert "<details open>" in failed(30)
    assert "<details open>" not in failed(31)
