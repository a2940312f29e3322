"""What `docs/exhibits.yaml` says: which records each exhibit is made of, and what is shown of them."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lra_bench.core.errors import ConfigError, FileError

PLACE = Path("docs") / "exhibits.yaml"
"""Of the file, in a checkout."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9]+([-_][a-z0-9]+)*$")]

PictureKind = Literal["sensitivity", "curves", "best", "filters", "cloud", "cost", "spectral_filters", "features"]
"""Figures of a board, and the two that are drawn of the filters alone."""

TableName = Literal["results", "usable_range", "samples", "filter_counts", "search", "lra"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Selection(_Part):
    """Records of one study.

    Attributes:
        study: its folder below `results/`.
        where: what its records have to meet, each as `lra-bench compare` takes it: a model, or KEY=VALUE.
        sweeps: those that measure it; the one of its name if none is given.
        settings: words that these are run with.
    """

    study: Name
    where: tuple[str, ...] = ()
    sweeps: tuple[Name, ...] = ()
    settings: tuple[str, ...] = ()

    @property
    def commands(self) -> tuple[tuple[str, ...], ...]:
        """Words of `lra-bench` that measure the study."""
        run = ("sweep", "run")
        if not self.sweeps:
            return ((*run, self.study, *self.settings),)
        return tuple((*run, sweep, *self.settings, f"study={self.study}") for sweep in self.sweeps)


class Filters(_Part):
    """Spectral filters to draw.

    Attributes:
        seq_len: steps L of a sequence.
        num_filters: how many, K.
    """

    seq_len: int = Field(gt=1)
    num_filters: int = Field(gt=0)


class Exhibit(_Part):
    """One exhibit.

    Attributes:
        id: by which it is linked and run again.
        title: short.
        question: what it is to show, with its source.
        records: what is measured; nothing where only filters are drawn.
        filters: to be drawn.
        pictures: kinds of figures, of each board.
        tables: by name, in order.
        model: the model that `samples` and `search` judge.
        reference: the model that it is judged by.
    """

    id: Name
    title: str = Field(min_length=1)
    question: str = Field(min_length=1)
    records: tuple[Selection, ...] = ()
    filters: Filters | None = None
    pictures: tuple[PictureKind, ...] = ()
    tables: tuple[TableName, ...] = ()
    model: str = "lru"
    reference: str = "stu"

    @property
    def commands(self) -> tuple[tuple[str, ...], ...]:
        """Words of `lra-bench` that measure all of its studies."""
        return tuple(command for selection in self.records for command in selection.commands)

    @property
    def studies(self) -> tuple[str, ...]:
        """The studies that it is made of, each once."""
        return tuple(dict.fromkeys(selection.study for selection in self.records))


_EXHIBITS = TypeAdapter(tuple[Exhibit, ...])


def read(root: Path) -> tuple[Exhibit, ...]:
    """The exhibits of a checkout, in order.

    Raises:
        FileError: the file is missing, no YAML, or has a wrong field, which is named; or an id stands there twice.
    """
    path = root / PLACE
    try:
        exhibits = _EXHIBITS.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")), strict=False)
    except OSError as error:
        raise FileError(path, f"cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise FileError(path, f"is no YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise FileError(path, f"is wrong at {'.'.join(map(str, first['loc'])) or 'the top'}: {first['msg']}") from error
    ids = [exhibit.id for exhibit in exhibits]
    if twice := [each for each in ids if ids.count(each) > 1]:
        raise FileError(path, f"has {twice[0]} twice")
    return exhibits


def named(exhibits: tuple[Exhibit, ...], name: str) -> Exhibit:
    """The exhibit of an id.

    Raises:
        ConfigError: there is none; names those that there are.
    """
    for exhibit in exhibits:
        if exhibit.id == name:
            return exhibit
    raise ConfigError(f"there is no exhibit {name!r}; there is {', '.join(exhibit.id for exhibit in exhibits)}")
