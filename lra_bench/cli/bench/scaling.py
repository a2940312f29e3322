"""`lra-bench bench scaling`."""

from pathlib import Path

import click

from lra_bench.cli.bench.common import chosen_device, machine_options, output_options, split_words

MODELS = ("stu", "lru", "s4d")
LENGTHS = "1024,2048,4096,8192,16384,32768,65536"


@click.command(
    epilog="""\b
Examples:
  lra-bench bench scaling stu s4d
  lra-bench bench scaling stu model.num_filters=12 --lengths 1024,4096,16384 --width 128
"""
)
@click.argument("words", nargs=-1, metavar="[MODEL]... [model.KEY=VALUE]...")
@click.option("--lengths", default=LENGTHS, show_default=True, metavar="L,L,...", help="Two or more.")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Sequences.")
@click.option("--width", type=click.IntRange(min=1), default=64, show_default=True, help="Channels.")
@click.option("--seconds", type=click.FloatRange(min=0), default=1.0, show_default=True, help="Spent on each figure.")
@machine_options
@output_options
def scaling(
    words: tuple[str, ...],
    lengths: str,
    batch: int,
    width: int,
    seconds: float,
    device: str,
    threads: int | None,
    json_path: Path | None,
    compare: Path | None,
) -> None:
    """Time and memory of a layer against the length of its input.

    Both are those of a forward and a backward pass; beside them stands the time it takes to make the layer for that
    length, once, such as the filters of STU. The exponent p of a law L^p is fitted to all lengths, with its 95 %
    interval. Times and memory are measured as in `bench layer`.
    """
    import torch

    from lra_bench.benchmarks.cases import our_maker
    from lra_bench.benchmarks.results import older_run, publish
    from lra_bench.benchmarks.scaling import Plan, measure

    older_run("scaling", compare)
    names, settings = split_words(words)
    makers = [our_maker(name, settings) for name in dict.fromkeys(names or MODELS)]
    where = chosen_device(device, threads)
    plan = Plan(makers, _numbers(lengths), batch, width, where, torch.get_num_threads(), seconds)
    publish(measure(plan, say=lambda line: click.echo(line, err=True)), json_path, compare)


def _numbers(text: str) -> list[int]:
    from lra_bench.core.errors import ConfigError

    try:
        numbers = sorted({int(part) for part in text.split(",")})
    except ValueError:
        numbers = []
    if len(numbers) < 2 or numbers[0] < 1:
        raise ConfigError(f"--lengths: '{text}' must be two or more lengths such as 1024,4096,16384")
    return numbers
