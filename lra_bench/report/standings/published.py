"""Numbers quoted from papers, which stand beside measured ones and are never ranked with them."""

import difflib
import math
from collections.abc import Sequence
from functools import cache, partial
from importlib.resources import files
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from lra_bench.core.errors import LraBenchError
from lra_bench.report.standings.suites import BINARY, CONVENTIONS, LRA, Convention

UNVERIFIED = "unverified"
"""Evidence of numbers that no text confirmed. They are shown with this word only."""

COLUMNS = (*LRA, "image_rgb")
"""Tasks that published numbers may be of."""


def _known(name: str, names: Sequence[str]) -> str:
    if name not in names:
        raise ValueError(f"must be one of {', '.join(names)}")
    return name


_Task = Annotated[str, AfterValidator(partial(_known, names=COLUMNS))]
_Average = Annotated[str, AfterValidator(partial(_known, names=[each.name for each in CONVENTIONS]))]
_Percent = Annotated[float, Field(ge=0, le=100)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Part):
    """Where numbers were printed.

    Attributes:
        title: of the paper that measured them; its model's name where the title is not established.
        arxiv: identifier of that paper, where it was checked.
        where: in the paper, or in the one that quotes it.
    """

    title: str
    arxiv: Annotated[str, Field(pattern=r"^\d{4}\.\d{4,5}$")] | None = None
    where: str

    @property
    def link(self) -> str | None:
        """Address of the paper."""
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else None


class Quoted(_Part):
    """One published row; the head of `published/lra.yaml` says what the fields mean."""

    name: str
    aliases: tuple[str, ...] = ()
    evidence: Literal["primary", "secondary", "unverified"]
    source: Source
    accuracy: dict[_Task, _Percent]
    spread: dict[_Task, _Percent] = Field(default_factory=dict)
    failed: tuple[_Task, ...] = ()
    image_input: Literal["gray", "rgb", "unclear"] | None = None
    printed: dict[_Average, _Percent] = Field(default_factory=dict)
    note: str = ""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "Quoted":
        if not self.accuracy:
            raise ValueError("accuracy holds no task")
        if ("image" in self.accuracy) != (self.image_input is not None):
            raise ValueError("image_input is to be given where there is an accuracy for image, and only there")
        if set(self.failed) & set(self.accuracy) or set(self.failed) - set(BINARY):
            raise ValueError("failed may name binary tasks that have no accuracy")
        if set(self.spread) - set(self.accuracy):
            raise ValueError("spread is of a task that has no accuracy")
        return self

    @property
    def shown(self) -> str:
        """The name, with a word of warning where no text confirmed the numbers."""
        return f"{self.name} ({UNVERIFIED})" if self.evidence == UNVERIFIED else self.name

    @property
    def colour_in_image(self) -> bool:
        """The number that the source prints as image is not known to be of grey pictures."""
        return self.image_input in ("rgb", "unclear")

    def percent(self, task: str) -> float | None:
        """Accuracy on a task of this project, so on grey pictures for `image` and coloured ones for `image_rgb`."""
        if task == "image" and self.colour_in_image:
            return None
        if task == "image_rgb" and self.image_input == "rgb":
            return self.accuracy["image"]
        return self.accuracy.get(task)

    def spread_of(self, task: str) -> float | None:
        """What is printed beside `percent` of a task."""
        source = "image" if task == "image_rgb" and self.image_input == "rgb" else task
        return None if self.percent(task) is None else self.spread.get(source)

    def average(self, convention: Convention) -> float | None:
        """Mean over the tasks of a convention, in percent; None if one of them is not reported."""
        values = [self._averaged(task, convention) for task in convention.tasks]
        known = [value for value in values if value is not None]
        return math.fsum(known) / len(known) if len(known) == len(values) else None

    def misprint(self, convention: Convention) -> float | None:
        """The average that the source prints, if it is not that of its own numbers, whichever way they are rounded."""
        printed, ours = self.printed.get(convention.name), self.average(convention)
        if printed is None or ours is None:
            return None
        last_digit = 10.0 ** -len(f"{printed}".partition(".")[2])
        return printed if abs(printed - ours) > 1.1 * last_digit else None

    def _averaged(self, task: str, convention: Convention) -> float | None:
        if task in self.failed and convention.failed is not None:
            return 100 * convention.failed
        return self.percent(task)


_ROWS = TypeAdapter(tuple[Quoted, ...])


def read_published(text: str, name: str) -> tuple[Quoted, ...]:
    """Published rows from YAML.

    Args:
        text: a list of rows.
        name: of the file, for messages.

    Raises:
        LraBenchError: not YAML, a field is missing, unknown or out of range, or two rows have the same name.
    """
    try:
        rows = _ROWS.validate_python(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise LraBenchError(f"{name} is not valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise LraBenchError(f"{name} is not a list of published rows: {where}: {first['msg']}") from error
    known = [each.casefold() for row in rows for each in _names(row)]
    repeated = sorted({each for each in known if known.count(each) > 1})
    if repeated:
        raise LraBenchError(f"{name} has two rows that are called {repeated[0]}")
    return rows


@cache
def published() -> tuple[Quoted, ...]:
    """The published rows that come with the package, in the order of the file."""
    path = files("lra_bench.report.standings") / "published" / "lra.yaml"
    return read_published(path.read_text(encoding="utf-8"), "published/lra.yaml")


def find_published(name: str) -> Quoted:
    """The row of this name or alias; capitals do not matter.

    Raises:
        LraBenchError: there is none; suggests one, and lists all.
    """
    by_name = {each.casefold(): row for row in published() for each in _names(row)}
    if name.casefold() in by_name:
        return by_name[name.casefold()]
    close = difflib.get_close_matches(name.casefold(), by_name, n=1)
    hint = f" Did you mean '{by_name[close[0]].name}'?" if close else ""
    known = ", ".join(row.name for row in published())
    raise LraBenchError(f"nothing was published under the name '{name}'.{hint} Known: {known}.")


def _names(row: Quoted) -> tuple[str, ...]:
    return row.name, *row.aliases
