"""What a layer is measured on: shapes, dtypes, and whose layer it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lra_bench.core.errors import ConfigError


@dataclass(frozen=True)
class Shape:
    """An input of a layer: `batch` sequences of `length` steps and `width` channels."""

    name: str
    batch: int
    length: int
    width: int

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(B, L, D)."""
        return self.batch, self.length, self.width


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("image", 16, 1024, 128),
        Shape("image256", 16, 1024, 256),
        Shape("listops", 8, 2048, 128),
        Shape("text", 4, 4096, 128),
        Shape("pathx", 1, 16384, 64),
        Shape("lds", 8, 1024, 10),
    )
}
"""Of the tasks they are named after, batches cut to 16,384 steps, but for lds."""

DTYPES = ("float32", "float64", "bfloat16")
"""What is measured; bfloat16 is under autocast, as in training: the input is bfloat16, parameters stay float32."""


def shape_of(word: str) -> Shape:
    """A shape by its name, or by its sizes "B,L,D".

    Raises:
        ConfigError: it is neither.
    """
    if word in SHAPES:
        return SHAPES[word]
    try:
        batch, length, width = map(int, word.split(","))
    except ValueError:
        batch = length = width = 0
    if min(batch, length, width) < 1:
        raise ConfigError(f"--shape: '{word}' is none of {', '.join(SHAPES)}, nor sizes B,L,D such as 16,1024,128")
    return Shape(f"{batch}x{length}x{width}", batch, length, width)


@dataclass(frozen=True)
class Maker:
    """Whose layer it is; goes to another process, which makes the layer.

    Attributes:
        name: as it is shown.
        settings: of the model's `Config`, where it is one of ours.
        block: with GELU and a gated linear map behind it, as in a network.
        peer: "file:factory", where it is somebody else's.
    """

    name: str
    settings: dict[str, Any] | None = None
    block: bool = False
    peer: str | None = None


def our_maker(name: str, settings: list[str], block: bool = False) -> Maker:
    """The layer of a registered model.

    Args:
        name: as in `model=NAME`.
        settings: words `model.KEY=VALUE`.
        block: as in `Maker`.

    Raises:
        ConfigError: there is no such model or setting.
    """
    from lra_bench.config.compose import compose

    for word in settings:
        if not word.startswith("model."):
            raise ConfigError(f"a layer has settings of its model alone: model.KEY=VALUE, not '{word}'")
    model = compose(["task=lds", f"model={name}", *settings]).config.model
    return Maker(name, dict(vars(model)), block)


def peer_maker(word: str) -> Maker:
    """The layer of a peer, "file:factory"; both are shown by the factory's name.

    Raises:
        ConfigError: no such file.
    """
    file, _, factory = word.rpartition(":")
    if not (file and factory.isidentifier()):
        raise ConfigError(f"--peer: '{word}' is not of the form FILE.py:FACTORY")
    if not Path(file).is_file():
        raise ConfigError(f"--peer: there is no file {file}")
    return Maker(factory, peer=f"{Path(file).resolve()}:{factory}")


@dataclass(frozen=True)
class Case:
    """One layer on one input.

    Attributes:
        maker: of the layer.
        shape: of the input.
        dtype: one of `DTYPES`.
        device: name of it.
        threads: on the processor.
    """

    maker: Maker
    shape: Shape
    dtype: str
    device: str
    threads: int
