"""The wheel, installed outside the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lra_bench.core.record import RunRecord

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    source, out = tmp_path_factory.mktemp("source") / "copy", tmp_path_factory.mktemp("wheel")
    files = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, files.split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", out, source]
    subprocess.run(pip, check=True)
    (path,) = out.glob("*.whl")
    return path


def test_a_wheel_holds_one_package_with_all_its_data(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"lra_bench"}
    for path in [*ROOT.glob("configs/**/*.yaml"), *ROOT.glob("sweeps/*.yaml")]:
        assert f"lra_bench/{path.relative_to(ROOT)}" in names
    for path in [*ROOT.glob("models/*.py"), *ROOT.glob("tasks/*.py")]:
        assert f"lra_bench/{path.relative_to(ROOT)}" in names
    for path in (ROOT / "lra_bench/report/formats/templates").iterdir():
        assert f"lra_bench/report/formats/templates/{path.name}" in names
    assert "lra_bench/py.typed" in names


PIP = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory) -> Path:
    """A folder that the wheel is installed into."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([*PIP, "--target", folder, wheel], check=True)
    return folder


@pytest.fixture
def installed(site, tmp_path):
    """Runs the installed command line in an empty folder outside the checkout."""

    def run(*words: str) -> str:
        code = "import lra_bench.models; print(lra_bench.models.__file__); from lra_bench.cli.main import main; main()"
        environment = {**os.environ, "PYTHONPATH": str(site)}
        command = [sys.executable, "-c", code, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        first, _, rest = done.stdout.partition("\n")
        assert first.startswith(str(site))
        return rest

    return run


def test_the_installed_package_trains_and_reports(installed):
    assert "record: runs/train/" in installed("train", "task=lds", "model=lru", "train.max_steps=20")
    assert "Report: report/index.html" in installed("report", "runs")


def test_a_new_model_is_checked_trained_and_swept_beside_the_others(installed, site, tmp_path):
    installed("new", "model", "my_mixer")
    subprocess.run([*PIP, "--target", site, tmp_path / "my_mixer"], check=True)
    assert "my_mixer 0.1.0" in installed("list", "models")
    assert "my_mixer: keeps the contract" in installed("check", "model", "my_mixer")
    installed("train", "--config", "my_mixer/my_mixer.yaml", "train.max_steps=20")
    (tmp_path / "both.yaml").write_text(
        "# beside STU\nmethod: grid\nparameters:\n  task: {value: lds}\n  model: {values: [stu, my_mixer]}\n"
        "  train.max_steps: {value: 20}\n  optim.lr: {values: [0.01, 0.1]}\n"
    )
    assert "4 cells" in installed("sweep", "run", "both.yaml")
    found = [RunRecord.read(path) for path in tmp_path.glob("runs/*/*/record.json")]
    origins = {(record.model.name, record.model.origin) for record in found}
    assert origins == {("stu", "lra-bench"), ("my_mixer", "my_mixer 0.1.0")}
    assert len(found) == 5
