"""`lra-bench new`: a place to start."""

import keyword
from importlib.resources import files
from pathlib import Path
from string import Template

import click

TEMPLATES = {
    "pyproject.toml": "pyproject.toml",
    "mixer.py": "$module.py",
    "trial.yaml": "$module.yaml",
    "test_mixer.py": "test_$module.py",
}
"""Template -> file of the new package."""


@click.group()
def new() -> None:
    """Start something of your own, outside this project."""


@new.command(
    epilog="""\b
Examples:
  lra-bench new model my_mixer
"""
)
@click.argument("name")
def model(name: str) -> None:
    """Write a small package: one mixer, one trial, one test. It keeps the contract as it stands.

    NAME is that of the package and of the model, such as my_mixer; the folder NAME must not exist yet.
    """
    from lra_bench.core.errors import ConfigError
    from lra_bench.core.registry import MODELS

    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise ConfigError(f"'{name}' cannot name a module; use small letters, digits and _, such as my_mixer")
    if name in MODELS.entries():
        raise ConfigError(f"there is a model '{name}' already; choose another name")
    folder = Path(name)
    if folder.exists():
        raise ConfigError(f"{folder} exists already; choose another name, or move it away")
    words = {"module": name, "Class": "".join(part.capitalize() for part in name.split("_"))}
    folder.mkdir()
    for source, target in TEMPLATES.items():
        text = files("lra_bench.cli").joinpath("templates", f"{source}.txt").read_text(encoding="utf-8")
        (folder / Template(target).substitute(words)).write_text(Template(text).substitute(words), encoding="utf-8")
    click.echo(f"Wrote {folder}/: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    click.echo(f"Next: pip install -e {folder} && lra-bench check model {name}")
