"""The wheel, installed outside the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    source, out = tmp_path_factory.mktemp("source") / "copy", tmp_path_factory.mktemp("wheel")
    files = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=True).stdout
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
    for path in (ROOT / "lra_bench/report/templates").iterdir():
        assert f"lra_bench/report/templates/{path.name}" in names
    assert "lra_bench/py.typed" in names


def test_the_installed_package_trains_and_reports(wheel, tmp_path):
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site, wheel]
    subprocess.run(pip, check=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    code = "import lra_bench.models; print(lra_bench.models.__file__); from lra_bench.cli.main import main; main()"

    def run(*words: str) -> str:
        command = [sys.executable, "-c", code, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
        return done.stdout

    output = run("train", "task=lds", "model=lru", "train.max_steps=20")
    assert output.startswith(str(site))
    assert "record: runs/train/" in output
    assert "Report: report/index.html" in run("report", "runs")
