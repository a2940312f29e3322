"""The page in a real browser. Skipped only where none is installed."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from lra_bench.core.record import Status
from lra_bench.report.content import Content, Problem
from lra_bench.report.figures.gallery import board_drawings, shared_drawings
from lra_bench.report.formats.page import render
from tests.pages import (
    ADDRESSES,
    SCRIPTING,
    content_of,
    hostile_problem,
    hostile_record,
    hostile_table,
    leaderboard,
    painted,
)
from tests.records import make_record, realistic_records

pytestmark = pytest.mark.browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
FILTERS = (np.array([0.3, 0.02, 1e-4]), np.eye(16, 3))
OPEN_ALL = "for (const details of document.querySelectorAll('details')) details.open = true"
HIDE_WHAT_REPEATS = "for (const row of document.querySelectorAll('tr:nth-child(n + 8)')) row.hidden = true"


@pytest.fixture(scope="module")
def browser():
    found = os.environ.get("LRA_BENCH_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no browser. On Debian: apt-get install chromium; elsewhere, set LRA_BENCH_CHROMIUM to its path")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A report with everything: leaderboard, real figures, a table that is too long to lay out, a file left out."""
    records = realistic_records() + [make_record(seed=seed, val=seed / 1000) for seed in range(3, 199)]
    records.append(make_record(seed=199, val=None, status=Status.ERROR))
    content = content_of(records)
    [section] = content.sections
    content = replace(
        content,
        leaderboards=(leaderboard(),),
        sections=(replace(section, pictures=painted(board_drawings(section.board, 1))),),
        pictures=painted(shared_drawings([section.board], FILTERS)),
        problems=(Problem(Path("runs/a/record.json"), "not JSON"),),
        mixed=True,
    )
    return written(content, tmp_path_factory.mktemp("report"))


def written(content: Content, folder: Path) -> str:
    file = folder / "index.html"
    file.write_text(render(content), encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def visit(browser):
    """Opens a page, and fails at the end if that logged an error, asked for anything else, or opened a dialog."""
    contexts, complaints, requests = [], [], []

    def opened(address, script=None, **options):
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 1000}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: requests.append(request.url))
        if script:
            page.add_init_script(script)
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert {url for url in requests if not url.startswith("data:")} == {
        url for url in requests if url.startswith("file:")
    }
    assert len({url.partition("#")[0] for url in requests if url.startswith("file:")}) <= 1


def column(table, place):
    """The texts of a column of a table as they stand; a group's heading is in column 0."""
    return table.locator("tbody tr").evaluate_all(f"rows => rows.map(row => row.cells[{place}]?.textContent ?? null)")


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_sorts_numbers_within_their_groups_and_what_has_none_goes_last(visit, address):
    page = visit(address)
    table = page.locator("table").first
    measured, quoted = (
        ["transformer", "lru", "stu num_filters=24", "s5"],
        ["Transformer (Tay et al., 2021)", "S5 (Smith et al., 2023)"],
    )

    def rows():
        return column(table, 0)

    button = table.get_by_role("button", name="ListOps")
    button.click()
    assert rows() == ["Measured", *measured, "Quoted from papers", *quoted]
    expect(table.locator("th[aria-sort]")).to_have_text("ListOps")
    assert table.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    button.click()
    assert rows() == ["Measured", *measured[::-1], "Quoted from papers", *quoted[::-1]]
    for _ in range(2):
        table.get_by_role("button", name="Path-X").click()
        assert (rows()[4], rows()[-1]) == ("transformer", "Transformer (Tay et al., 2021)")
    table.get_by_role("button", name="Model").click()
    assert rows()[1:5] == ["lru", "s5", "stu num_filters=24", "transformer"]
    assert table.locator("th[aria-sort]").count() == 1


def test_a_missing_text_goes_last_too(visit, address):
    page = visit(address)
    table = page.get_by_role("region", name="Table: Failed trials")
    for _ in range(2):
        table.get_by_role("button", name="Message").click()
        messages = column(table, 7)
        assert messages[-1] == "–"
        assert messages.count("–") == 1


def test_keyboard_reaches_a_header_and_sorts(visit, address):
    page = visit(address)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    for _ in range(5):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('th') !== null"):
            break
    page.keyboard.press("Enter")
    assert page.locator("table").first.locator("th").first.get_attribute("aria-sort") == "ascending"


def test_filters_rows_of_all_tables_and_says_how_many(visit, address):
    page = visit(address)
    page.evaluate(OPEN_ALL)
    total = page.locator("tbody tr:not(.group)").count()
    said = page.get_by_role("search").get_by_role("status")
    expect(said).to_have_text(f"{total} of {total} rows match")
    page.get_by_label("Filter rows").fill("S5  smith")
    expect(said).to_have_text(f"1 of {total} rows match")
    assert page.locator("tbody tr:visible").all_text_contents()[0].strip() == "Quoted from papers"
    assert page.locator("tbody tr:visible").count() == 2
    page.get_by_label("Filter rows").fill("transformer")
    page.get_by_label("Status").select_option("diverged")
    [trials] = [s for s in page.locator("summary").all_text_contents() if "trials" in s]
    assert trials == "All 269 trials"
    shown = page.locator("tr:visible", has=page.locator("td", has_text="diverged")).all_text_contents()
    assert shown
    assert all("transformer" in text for text in shown)
    assert "ok" not in page.locator("td:visible").all_text_contents()
    page.get_by_label("Filter rows").fill("")
    page.get_by_label("Status").select_option("any")
    expect(said).to_have_text(f"{total} of {total} rows match")


def test_a_long_table_is_laid_out_in_full_only_when_asked(visit, address):
    page = visit(address)
    page.evaluate(OPEN_ALL)
    table = page.get_by_role("region", name="Table: lds: all 269 trials")
    rows = table.locator("tbody tr:visible")
    assert rows.count() == 200
    table.get_by_role("button", name="Validation").click()
    assert rows.count() == 200
    page.get_by_role("button", name="Show all 269 rows").click()
    assert rows.count() == 269
    values = [float(value) for value in column(table, 7) if value != "–"]
    assert values == sorted(values)


def test_theme_switches_and_is_remembered(visit, address):
    page = visit(address, color_scheme="light")
    button = page.locator("#theme")
    light = background(page)
    button.click()
    expect(button).to_have_text("Theme: light")
    assert background(page) == light
    button.click()
    expect(button).to_have_text("Theme: dark")
    dark = background(page)
    assert dark != light
    card = "getComputedStyle(document.querySelector('.card')).backgroundColor"
    assert page.evaluate(card) == "rgb(255, 255, 255)"
    page.reload()
    expect(button).to_have_text("Theme: dark")
    assert background(page) == dark
    page.emulate_media(media="print")
    assert background(page) == "rgb(255, 255, 255)"


def test_follows_the_system_and_works_where_storage_is_forbidden(visit, address):
    forbid = "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError') }})"
    page = visit(address, script=forbid, color_scheme="dark")
    dark = background(page)
    page.locator("#theme").click()
    assert background(page) != dark


def test_shows_every_figure_and_nothing_is_too_wide(visit, address):
    page = visit(address)
    page.evaluate(OPEN_ALL)
    figures = page.locator("figure svg")
    assert figures.count() >= 4
    for width in (390, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        for place in range(figures.count()):
            box = figures.nth(place).bounding_box()
            assert box["width"] > 250
            assert box["height"] > 100
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_no_serious_fault_of_accessibility(visit, address):
    page = visit(address, bypass_csp=True)
    page.evaluate(OPEN_ALL)
    page.evaluate(HIDE_WHAT_REPEATS)
    for width, scheme in ((390, "dark"), (1440, "light")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page, context={"exclude": [["svg"]]}).response["violations"]
        assert [
            (fault["id"], fault["nodes"][0]["html"]) for fault in found if fault["impact"] in ("serious", "critical")
        ] == []


def test_paper_has_no_controls_and_what_is_short_is_unfolded(visit, address):
    page = visit(address)
    page.emulate_media(media="print")
    for name in (".controls", ".skip", "nav", ".more"):
        assert page.locator(f"{name}:visible").count() == 0
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details.brief:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details.brief[open]").count() == 0


def test_without_script_everything_can_be_read(visit, address):
    page = visit(address, java_script_enabled=False)
    assert page.locator(".controls:visible").count() == 0
    page.locator("summary", has_text="All 269 trials").click()
    assert page.get_by_role("region", name="Table: lds: all 269 trials").locator("tbody tr:visible").count() == 269


def test_nothing_in_a_record_runs(visit, tmp_path):
    one_board = [
        hostile_record(text, task="lds").model_copy(update={"trial_id": f"{place}{text}"})
        for place, text in enumerate([*SCRIPTING, *ADDRESSES])
    ]
    boards = [hostile_record(text, task=f"task {text}") for text in SCRIPTING]
    content = content_of([*one_board, *boards], leaderboards=tuple(map(hostile_table, [*SCRIPTING, *ADDRESSES])))
    [crowded] = [section for section in content.sections if section.board.task == "lds"]
    content = replace(
        content,
        pictures=painted(board_drawings(crowded.board, 1)[:2]),
        problems=tuple(map(hostile_problem, SCRIPTING)),
    )
    page = visit(written(content, tmp_path))
    page.evaluate(OPEN_ALL)
    page.locator("table").first.get_by_role("button").first.click()
    page.get_by_label("Filter rows").fill("<script>")
    page.get_by_label("Filter rows").fill("")
    assert page.evaluate("window.ran") is None
    links = page.locator("a[href]:not([href^='#'])").evaluate_all(
        "links => links.map(link => new URL(link.href).protocol)"
    )
    assert set(links) <= {"http:", "https:"}
    assert (
        page.locator(
            "[onclick], [onmouseover], [onfocus], [onload], [onerror], iframe, img, script:not(head script)"
        ).count()
        == 0
    )
    assert "{{ 7 * 7777 }}" in page.locator("main").text_content()
