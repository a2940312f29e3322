"""Who may import whom, and what start-up may cost."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TINY

ROOT = Path(__file__).parent.parent
OURS = "lra_bench"
FRAMEWORK = {
    "config",
    "core",
    "data",
    "nn",
    "report",
    "training",
    "tracking",
    "environment",
    "outcome",
    "building",
    "experiment",
    "trials",
}
HEAVY = {"lightning", "torchmetrics", "wandb", "omegaconf", "pandas", "matplotlib", "datasets", "sklearn", "pyarrow"}

# room -> (rooms of ours that it may import, heavy packages that it may import)
ALLOWED = {
    "core": (set(), set()),
    "nn": ({"core"}, set()),
    "data": ({"core"}, {"lightning", "datasets", "sklearn"}),
    "models": ({"core", "nn"}, set()),
    "tasks": ({"core", "data", "tasks"}, {"pyarrow"}),
    "training": ({"core", "nn"}, {"lightning", "torchmetrics"}),
    "config": ({"core"}, {"omegaconf"}),
    "report": ({"core"}, {"pandas", "matplotlib"}),
    "tracking": ({"core", "config", "report"}, {"lightning", "wandb"}),
    "environment": (set(), set()),
    "building": ({"config", "core", "data", "nn"}, set()),
    "outcome": (FRAMEWORK - {"experiment", "trials"}, {"lightning"}),
    "experiment": (FRAMEWORK - {"trials"}, {"lightning"}),
    "stacked": (FRAMEWORK - {"trials"}, {"lightning"}),
    "trials": (FRAMEWORK | {"stacked"}, {"lightning", "omegaconf"}),
    "benchmarks": (FRAMEWORK | {"stacked"}, {"lightning"}),
    "cards": ({"config", "core", "task_cards"}, set()),
    "task_cards": ({"building", "config", "core", "data"}, set()),
    "exhibits": ({"core", "nn", "report"}, set()),
    "schema_files": ({"core", "report"}, set()),
    "sweep_cards": ({"config", "core", "trials"}, set()),
    "cli": (FRAMEWORK | {"benchmarks", "cards", "cli", "stacked", "task_cards", "testing"}, {"matplotlib"}),
    "testing": ({"core"}, set()),
}


def sources() -> list[tuple[str, Path]]:
    """(room, file) of everything that is shipped."""
    found = [(path.relative_to(ROOT / OURS).parts[0].removesuffix(".py"), path) for path in (ROOT / OURS).rglob("*.py")]
    found += [("models", path) for path in (ROOT / "models").glob("*.py")]
    found += [("tasks", path) for path in (ROOT / "tasks").glob("*.py")]
    return [(room, path) for room, path in found if room != "__init__"]


def imported(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, at any depth of nesting."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module == OURS else {node.module}
    return names


@pytest.mark.parametrize(("room", "path"), sources(), ids=lambda value: str(value).removeprefix(str(ROOT)))
def test_imports_go_downwards(room, path):
    rooms, packages = ALLOWED[room]
    for name in imported(path):
        first, _, rest = name.partition(".")
        if first == OURS:
            target = rest.partition(".")[0]
            assert target in rooms | {room, "__version__"}, f"{room} may not import {name}"
        elif first in HEAVY:
            assert first in packages, f"{room} may not import {name}"


def test_only_tracking_imports_wandb():
    assert {room for room, path in sources() if any(n.split(".")[0] == "wandb" for n in imported(path))} == {"tracking"}


def test_the_report_needs_no_torch():
    assert loaded_by("import lra_bench.report.build", {"torch", "lightning"}) == set()


@pytest.mark.parametrize(
    "words",
    [["--help"], ["train", "--help"], ["list", "models"], ["list", "tasks"], ["list", "recipes"], ["list", "sweeps"]],
)
def test_help_and_lists_load_nothing_heavy(words):
    code = f"from lra_bench.cli.main import main; main({words!r}, standalone_mode=False)"
    assert loaded_by(code, {"torch", "lightning", "pandas", "matplotlib", "wandb"}) == set()


def test_the_generator_needs_no_trainer():
    assert loaded_by("import lra_bench.tasks.linear_systems", {"torch", "lightning"}) == set()


def loaded_by(code: str, names: set[str]) -> set[str]:
    """Which of `names` a fresh interpreter has loaded after running `code`."""
    script = f"{code}\nimport sys; print('LOADED', *sorted({names!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_every_package_is_declared():
    import tomllib

    declared = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    mapped = {f"{OURS}.{name}" for name in ("models", "tasks", "configs", "sweeps")}
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / OURS).rglob("__init__.py")}
    assert declared == found | mapped


def test_training_loads_only_what_it_uses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["train", "task=lds", "model=stu", *TINY, "train.threads=1"]
    code = f"from lra_bench.cli.main import main\ntry: main({words!r})\nexcept SystemExit as end: assert not end.code"
    unused = {"pandas", "wandb", "datasets", "sklearn", "pyarrow", "ray", "submitit", "jinja2", "torchvision"}
    assert loaded_by(code, unused) == set()
