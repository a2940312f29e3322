"""The whole report on a fixed set of records equals the frozen one, byte for byte, on this Python and on newer ones."""

import difflib
import shutil
import subprocess
import sys
from importlib.metadata import version

import pytest

from tests.frozen_set import FILES, FROZEN, build_frozen_report

NEEDED = ("numpy", "pandas", "matplotlib", "scipy", "pydantic", "jinja2", "pyyaml")
NEWER = [f"python3.{minor}" for minor in range(sys.version_info.minor + 1, sys.version_info.minor + 6)]
VERSIONS = f"from importlib.metadata import version; print([version(name) for name in {NEEDED}])"
WRITE = """
import sys
from pathlib import Path
from tests.frozen_set import write_frozen_parts
write_frozen_parts(Path(sys.argv[1]))
print([name for name in ("torch", "lightning", "wandb", "matplotlib.pyplot") if name in sys.modules])
"""


def differences(name, text):
    """The first lines in which a file is not as it was frozen, each cut to what can be read."""
    frozen = (FROZEN / name).read_bytes().decode()
    if frozen == text:
        return []
    lines = difflib.unified_diff(
        frozen.splitlines(), text.splitlines(), f"frozen {name}", f"new {name}", n=0, lineterm=""
    )
    return [line[:300] for line, _ in zip(lines, range(40), strict=False)] or [f"{name}: the ends of its lines differ"]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return build_frozen_report(tmp_path_factory.mktemp("frozen"))


@pytest.mark.parametrize("name", FILES)
def test_the_report_is_as_it_was_frozen(report, name):
    assert not (lines := differences(name, report[name])), "\n".join(
        [*lines, "", "If this is what you want: python -m tests.frozen_set --update"]
    )


@pytest.mark.parametrize("python", NEWER)
def test_newer_pythons_give_the_same_bytes_without_torch(python, tmp_path):
    found = shutil.which(python)
    if found is None:
        pytest.skip(f"no {python} on the PATH")
    there = run(found, VERSIONS)
    if there.stdout.strip() != str([version(name) for name in NEEDED]):
        pytest.skip(f"{python} has not the same versions of {', '.join(NEEDED)}")
    done = run(found, WRITE, str(tmp_path / "report"))
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
    lines = [line for name in FILES for line in differences(name, (tmp_path / "report" / name).read_bytes().decode())]
    assert not lines, "\n".join(lines)


def run(python, code, *arguments):
    root = str(FROZEN.parent.parent)
    return subprocess.run(
        [python, "-c", code, *arguments], cwd=root, env={"PATH": "", "PYTHONPATH": root}, capture_output=True, text=True
    )
