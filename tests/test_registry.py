import sys
from importlib import metadata

import pytest

from lra_bench.core import registry
from lra_bench.core.errors import ConfigError
from lra_bench.core.mixer import SequenceMixer
from lra_bench.core.registry import MODELS, TASKS, Registry

STRANGER = """
from lra_bench.core.mixer import SequenceMixer

class MyMixer(SequenceMixer):
    pass

NOT_A_MIXER = 3
"""


@pytest.fixture
def stranger(folder):
    (folder / "stranger_module.py").write_text(STRANGER)
    yield
    sys.modules.pop("stranger_module", None)


@pytest.mark.parametrize("names", [MODELS, TASKS])
def test_every_shipped_name_loads(names):
    for name, entry in names.entries().items():
        assert names.load(name, object).__module__ == entry.path.partition(":")[0]
        assert entry.origin == "lra-bench"


def test_a_misspelt_name_gets_a_suggestion():
    with pytest.raises(ConfigError, match=r"no model 'stuu'\. Did you mean 'stu'"):
        MODELS.load("stuu", SequenceMixer)


def test_a_path_finds_a_class_in_the_current_folder(stranger):
    path = list(sys.path)
    cls = MODELS.load("stranger_module:MyMixer", SequenceMixer)
    assert issubclass(cls, SequenceMixer)
    assert MODELS.find("stranger_module:MyMixer").origin == "local file"
    assert sys.path == path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stranger_module:Missing", "has no 'Missing'"),
        ("stranger_module:NOT_A_MIXER", "is not a SequenceMixer"),
        ("no_such_module:Thing", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_a_path_that_leads_nowhere_says_so(stranger, name, message):
    with pytest.raises(ConfigError, match=message):
        MODELS.load(name, SequenceMixer)


def with_entry_point(monkeypatch, name: str, value: str) -> None:
    point = metadata.EntryPoint(name, value, "lra_bench.models")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == "lra_bench.models" else [])


def test_an_entry_point_adds_a_name(monkeypatch, stranger):
    with_entry_point(monkeypatch, "theirs", "stranger_module:MyMixer")
    assert MODELS.load("theirs", SequenceMixer).__name__ == "MyMixer"


def test_a_clash_names_both_sides(monkeypatch):
    with_entry_point(monkeypatch, "stu", "stranger_module:MyMixer")
    with pytest.raises(ConfigError, match=r"(?s)lra_bench\.models\.stu:STU.*stranger_module:MyMixer"):
        MODELS.entries()


def test_a_failed_import_names_its_source(monkeypatch, folder):
    (folder / "broken_module.py").write_text("import does_not_exist_anywhere")
    with_entry_point(monkeypatch, "broken", "broken_module:Thing")
    with pytest.raises(ConfigError, match=r"'broken' .*broken_module:Thing.*does_not_exist_anywhere"):
        MODELS.load("broken", SequenceMixer)


def test_listing_imports_nothing(monkeypatch):
    with_entry_point(monkeypatch, "theirs", "never_imported:Thing")
    assert "theirs" in MODELS.entries()
    assert "never_imported" not in sys.modules
    assert Registry("model", "lra_bench.models", "another.group").entries().keys() == {
        name for name in MODELS.entries() if name != "theirs"
    }
