"""`lra-bench report` as people run it."""

from lra_bench.core.record import Status
from tests.records import make_config, make_lra_record, make_record


def write(folder, *records):
    for record in records:
        path = folder / "runs" / record.trial_id / "record.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        record.write(path)


def of_protocol(protocol, seed, val):
    config = {**make_config("stu", 0.01, seed), "protocol": protocol}
    return make_record("stu", 0.01, seed, val, protocol=protocol, config=config, trial_id=f"{protocol}-{seed}")


def test_protocols_are_apart_unless_they_are_mixed_which_is_printed(cli, folder):
    write(folder, *(of_protocol(name, seed, 0.1) for name in ("clean", "legacy") for seed in range(3)))
    apart = cli("report", "runs", "--out", "apart").output
    assert "clean protocol" in apart
    assert "legacy protocol" in apart
    assert "Mixed protocols" not in (folder / "apart/index.html").read_text()
    mixed = cli("report", "runs", "--out", "mixed", "--mix").output
    assert "clean and legacy protocol" in mixed
    assert "stu protocol=legacy" in mixed
    assert "Mixed protocols" in (folder / "mixed/index.html").read_text()


BAD = {
    "corrupt": (lambda text: b"\xff{" + text, "not JSON"),
    "truncated": (lambda text: text[:200], "cut off"),
    "foreign": (lambda text: b'{"accuracy": 0.99}', "schema_version"),
    "future": (lambda text: text.replace(b'"schema_version": 2', b'"schema_version": 3'), "newer lra-bench"),
    "edited": (lambda text: text.replace(b'"nmse": 0.2', b'"nmse": 0.02'), "changed after it was written"),
}


def test_bad_files_are_listed_with_their_reasons_and_change_no_other_row(cli, folder):
    write(folder, *(make_record(seed=seed, val=0.1) for seed in range(3)))
    cli("report", "runs", "--out", "before")
    for kind, (change, _) in BAD.items():
        write(folder, make_record("lru", val=0.2, trial_id=kind))
        path = folder / "runs" / kind / "record.json"
        text = path.read_bytes()
        assert change(text) != text
        path.write_bytes(change(text))
    result = cli("report", "runs", "--out", "after")
    listed = [line for line in result.stderr.splitlines() if line.startswith("left out: ")]
    page = (folder / "after/index.html").read_text()
    for kind, (_, reason) in BAD.items():
        assert any(f"runs/{kind}/record.json" in line and reason in line for line in listed)
        assert f"runs/{kind}/record.json" in page
    assert len(listed) == len(BAD)
    for name in ("leaderboard.md", "leaderboard.csv", "leaderboard.tex", "sensitivity.csv"):
        assert (folder / "after" / name).read_bytes() == (folder / "before" / name).read_bytes()


def test_the_difference_to_a_published_row(cli, folder):
    write(folder, *(make_lra_record("listops", "stu", seed=seed, val=0.6215, test=0.6215) for seed in range(3)))
    output = cli("report", "runs", "--against", "S5").output
    assert "difference to S5" in output
    assert "Megalodon" not in output
    assert "Megalodon" in (folder / "report/leaderboard.md").read_text()
    assert "did you mean" in cli("report", "runs", "--against", "S55", expect=2).stderr.lower()


def test_failures_alone_are_a_report(cli, folder):
    write(folder, *(make_record(seed=seed, val=None, status=Status.OOM, message="no memory left") for seed in range(2)))
    assert "2 oom" in cli("report", "runs").output
    assert "no memory left" in (folder / "report/index.html").read_text()
