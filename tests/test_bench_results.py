"""What benchmarks have in common: tables, files, comparisons, fair timing; and the pages that are written from them."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lra_bench.benchmarks import timing
from lra_bench.benchmarks.page import BEGIN, END, main, page, read_all, readme_block, with_block
from lra_bench.benchmarks.results import Benchmark, Column, as_text, comparison, machine
from lra_bench.benchmarks.timing import PeakMemory, Spread, Timing, compared, counted, in_own_process, interleaved
from lra_bench.core.errors import FileError

ROOT = Path(__file__).parent.parent

COLUMNS = (
    Column("shape", "shape"),
    Column("model", "layer"),
    Column("ms", "time, ms", "{:.1f}", "less"),
    Column("rate", "rate", "{:.0f}", "more"),
    Column("note", "note"),
)


def benchmark(**times: float | None) -> Benchmark:
    rows = [{"shape": "small", "model": name, "ms": ms, "rate": 8.0, "note": "same"} for name, ms in times.items()]
    return Benchmark("layer", {"machine": "here", "threads": "2"}, ("shape", "model"), COLUMNS, rows)


def test_what_all_rows_share_is_said_once():
    lines = as_text(benchmark(stu=1.25, lru=None)).splitlines()
    assert lines[0] == "machine: here; threads: 2; shape: small; note: same"
    assert [line.split() for line in lines[2:]] == [
        ["layer", "time,", "ms", "rate"],
        ["stu", "1.2", "8"],
        ["lru", "–", "8"],
    ]


def test_a_wide_table_is_broken_into_blocks_that_name_their_rows():
    columns = (*COLUMNS[:2], *(Column(str(place), f"heading number {place}", "{:.0f}") for place in range(12)))
    rows = [{"shape": s, "model": "stu", **{str(i): 100.0 * i + len(s) for i in range(12)}} for s in ("image", "text")]
    text = as_text(replace(benchmark(), columns=columns, rows=rows))
    assert max(map(len, text.splitlines())) <= 100
    assert sum(line.startswith("image") for line in text.splitlines()) == 3
    assert all(text.count(f"heading number {place}") == 1 for place in range(2, 12))


def test_a_file_holds_all_of_it(tmp_path):
    whole = benchmark(stu=1.25, lru=None)
    whole.write(tmp_path / "new folder" / "now.json")
    assert Benchmark.read(tmp_path / "new folder" / "now.json") == whole


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "layer", "columns": [{"no": 1}]}', "not JSON"])
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "now.json").write_text(text)
    with pytest.raises(FileError, match=r"now.json is no benchmark; --json of `lra-bench bench` writes one"):
        Benchmark.read(tmp_path / "now.json")
    with pytest.raises(FileError, match="cannot be read"):
        Benchmark.read(tmp_path / "nosuch.json")


def test_rows_are_compared_by_what_they_are_about():
    then = benchmark(lru=4.0, gone=1.0, stu=2.0, unmeasured=None)
    now = replace(benchmark(stu=1.0, lru=6.0, new=3.0, unmeasured=1.0), conditions={"machine": "there", "threads": "2"})
    text = comparison(now, then)
    ratios = {line.split()[1]: line.split()[2:] for line in text.splitlines() if line.startswith("small ")}
    assert ratios == {"stu": ["0.50x", "1.00x"], "lru": ["1.50x", "1.00x"], "unmeasured": ["–", "1.00x"]}
    assert "Only now: small new." in text
    assert "Only then: small gone." in text
    assert "Not the same: machine: there now, here then." in text
    assert "threads:" not in text
    assert "time (less)" in text
    assert "rate (more)" in text


def test_data_is_measured_written_and_compared(cli, folder):
    words = ("bench", "data", "lds", "task.seq_len=16", "--seconds", "0", "--no-step")
    cli(*words, "--json", "then.json")
    output = cli(*words, "--json", "now.json", "--compare", "then.json").output
    assert max(map(len, output.splitlines())) <= 100
    assert "lra-bench bench data --compare now.json" in output
    assert "Now / then" in output
    found = json.loads((folder / "now.json").read_text())
    assert found["rows"][0]["loader"] > 0
    assert found["rows"][0]["step"] is None
    message = cli("bench", "layer", "--compare", "then.json", expect=2).output
    assert "then.json is of `bench data`, and this is `bench layer`" in message


def test_the_machine_is_named():
    about = machine()
    assert set(about) == {"machine", "threads", "torch", "python", "code"}
    assert about["threads"] == str(torch.get_num_threads())
    assert str(Path.home()) not in str(about)


def test_quartiles():
    assert Spread.of([4.0, 1.0, 2.0, 3.0, 5.0]) == Spread(3.0, 2.0, 4.0, 5)


def test_everything_takes_turns():
    order = []

    def turn(name, repeats, disturbed=False):
        def take():
            order.append(name)
            return [Timing(1.0, disturbed)] * repeats

        return take

    repeats = interleaved({"slow": turn("slow", 1), "fast": turn("fast", 5)}, seconds=0)
    assert order == ["slow", "fast", "slow", "slow"]
    assert {name: len(found) for name, found in repeats.items()} == {"slow": 3, "fast": 5}
    repeats = interleaved({"noisy": turn("noisy", 1, disturbed=True)}, seconds=0)
    assert len(repeats["noisy"]) == 6  # three more tries


def test_disturbed_repeats_count_only_where_too_few_are_left():
    quiet, noisy = Timing(1.0, disturbed=False), Timing(9.0, disturbed=True)
    assert counted([quiet, noisy, quiet, quiet]) == [quiet] * 3
    assert counted([quiet, noisy, quiet]) == [quiet, noisy, quiet]


def test_other_processes_are_noticed(monkeypatch):
    busy, own = iter([10.0, 11.0]), iter([5.0, 5.5])
    monkeypatch.setattr(timing, "_busy_seconds", lambda: next(busy))
    monkeypatch.setattr(timing, "_own_seconds", lambda: next(own))
    assert timing.Foreign().ran()  # half a second of somebody else's
    busy, own = iter([10.0, 11.0]), iter([5.0, 5.99])
    assert not timing.Foreign().ran()
    busy = iter([None, None])
    own = iter([5.0, 6.0])
    assert not timing.Foreign().ran()


def test_slow_work_is_told_from_fast_work():
    x = torch.randn(300, 300)
    found = compared({"fast": lambda: x + 1, "slow": lambda: time.sleep(0.05)}, torch.device("cpu"), seconds=0)
    assert all(0 < spread.lower <= spread.median <= spread.upper for spread in found.values())
    assert found["fast"].median < 0.05 <= found["slow"].lower
    assert min(spread.repeats for spread in found.values()) >= 3


def held_and_let_go(megabytes: int) -> float:
    """Of a process: what it takes, above what it had taken and given back before."""
    before = np.ones(2 * megabytes * 10**6, dtype=np.int8)
    del before
    memory = PeakMemory(torch.device("cpu"))
    now = np.ones(megabytes * 10**6, dtype=np.int8)
    del now
    return memory.megabytes()


def test_memory_is_what_is_taken_at_most():
    assert in_own_process(held_and_let_go, 100) == pytest.approx(100, abs=10)


def test_pages_are_written_from_files_alone(tmp_path):
    rows = [
        {"shape": shape, "sizes": sizes, "dtype": "float32", "model": model, "both": both, "megabytes": 67.8}
        for shape, sizes in (("image", "16 x 1024 x 128"), ("text", "4 x 4096 x 128"))
        for model, both in (("stu", 1234.4), ("lru", 3.0))
    ]
    rows[0]["route"] = "one way"
    columns = (Column("shape", "shape"), Column("dtype", "dtype"), Column("model", "layer"), Column("both", "both, ms"))
    conditions = {"machine": "here", "threads": "2", "torch": "2.13"}
    layers = Benchmark("layer", conditions, ("shape", "dtype", "model"), columns, rows)
    layers.write(tmp_path / "docs" / "speed" / "layer.json")
    (tmp_path / "README.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    main(tmp_path)
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith(f"before\n{BEGIN}\n| layer | image, 16 x 1024 x 128 | text, 4 x 4096 x 128 |\n")
    assert "| stu | 1,234 ms, 68 MB | 1,234 ms, 68 MB |\n| lru | 3 ms," in readme
    assert "machine here, threads 2, torch 2.13" in readme
    assert readme.endswith(f"\n{END}\nafter\n")
    assert "old" not in readme
    written = (tmp_path / "docs" / "speed.md").read_text()
    assert "## Layers" in written
    assert "- machine: here" in written
    assert "- stu at image: one way" in written
    assert "| image | stu | 1234.4 |" in written


def test_a_page_without_a_place_is_refused(tmp_path):
    with pytest.raises(FileError, match=r"README.md has no lines <!-- speed: begin --> and"):
        with_block("nothing here", "block", Path("README.md"))
    with pytest.raises(FileError, match=r"layer.json is missing; `make bench` measures it"):
        main(tmp_path)


def test_the_docs_are_what_was_measured():
    measured = read_all(ROOT / "docs" / "speed")
    written = ROOT / "docs" / "speed.md"
    assert written.exists() == bool(measured)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    if measured:
        assert written.read_text(encoding="utf-8") == page(measured)
        assert readme_block(next(each for each in measured if each.kind == "layer")) in readme
    else:
        assert BEGIN not in readme
