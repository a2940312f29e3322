"""`wandb sweep` and `wandb agent`, the real ones, with our sweep file."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from lra_bench.core.record import RunRecord
from lra_bench.tracking.content import HistoryFile
from tests.conftest import TINY
from tests.wandb_stand_in import StandIn, client_environment, stand_in

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed"),
]
QUICKSTART = Path(__file__).parent.parent / "sweeps" / "quickstart.yaml"
FEW = {
    "model": {"values": ["stu", "lru"]},
    "optim.lr": {"values": [0.01]},
    "seed": {"values": [0]},
    "train.threads": {"value": 1},
}


def wandb(service: StandIn, folder: Path, *words: str) -> str:
    """Run the client's command line, and return what it says."""
    environment = client_environment(service.url, folder)
    done = subprocess.run(["wandb", *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)


def sweep(service: StandIn, folder: Path) -> None:
    """Make a sweep of the file in `folder`, and let an agent complete it."""
    said = wandb(service, folder, "sweep", "--project", "lra-bench", "quickstart.yaml")
    path = re.search(r"wandb agent (\S+)", said)
    assert path is not None, said
    wandb(service, folder, "agent", path[1])


def test_an_agent_completes_the_quickstart_sweep(tmp_path):
    content = yaml.safe_load(QUICKSTART.read_text())
    tiny = {key: {"value": yaml.safe_load(value)} for key, _, value in (word.partition("=") for word in TINY)}
    content["parameters"] |= FEW | tiny
    assert content["command"] == ["lra-bench", "train", "${args_no_hyphens}"]
    (tmp_path / "quickstart.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    with stand_in() as service:
        sweep(service, tmp_path)
        check(service, tmp_path, "sweep0")
        sweep(service, tmp_path)  # other runs of the same cells, which are not trained again
        check(service, tmp_path, "sweep1")
        assert len(service.runs) == 4


def check(service: StandIn, folder: Path, sweep: str) -> None:
    """One run for each cell, with its nested config and the history of its trial."""
    runs = [run for run in service.runs.values() if run.sweep == sweep]
    cells = {(run.setting("model"), run.setting("optim.lr")) for run in runs}
    assert cells == {("stu", 0.01), ("lru", 0.01)}
    assert len(runs) == 2
    for run in runs:
        trial = folder / "runs/train" / run.setting("trial")
        record = RunRecord.read(trial / "record.json")
        assert run.state == "finished"
        assert run.history == [(row.step, row.values) for row in HistoryFile(trial / "history.jsonl").rows()]
        assert run.setting("config") == record.config
        assert run.setting("config")["model"]["name"] == run.setting("model")
        assert run.setting("config")["optim"]["lr"] == run.setting("lr") == run.setting("optim.lr")
        assert run.summary["val/nmse"] == record.val["nmse"]
        assert run.display_name.endswith(record.trial_id)
    found = {RunRecord.read(path).tracking.run_id for path in folder.glob("runs/train/*/record.json")}
    assert found == {run.name for run in service.runs.values() if run.sweep == "sweep0"}
