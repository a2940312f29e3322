"""What the commands of `lra-bench bench` share."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import torch

Command = Callable[..., Any]


def output_options(command: Command) -> Command:
    """Adds --json and --compare."""
    older = click.option(
        "--compare",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="OLD.json",
        help="A file of --json: print the ratios to that run, row by row.",
    )
    written = click.option(
        "--json",
        "json_path",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Write what was measured.",
    )
    return written(older(command))


def machine_options(command: Command) -> Command:
    """Adds --device and --threads."""
    threads = click.option(
        "--threads", type=click.IntRange(min=1), help="Of the processor.  [default: one for each core]"
    )
    device = click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu, cuda or cuda:1.")
    return device(threads(command))


def chosen_device(name: str, threads: int | None) -> "torch.device":
    """The device of a name, with the number of threads set in this process.

    Raises:
        ConfigError: there is no such device here.
    """
    import torch

    from lra_bench.core.errors import ConfigError

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"--device: there is no device '{name}'; take cpu or cuda") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"--device: there is no '{name}' here; take cpu")
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"--device: '{name}' is not supported; take cpu or cuda")
    if threads is not None:
        torch.set_num_threads(threads)
    return device


def split_words(words: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Names, and `key=value` settings."""
    return [word for word in words if "=" not in word], [word for word in words if "=" in word]
