"""`lra-bench bench train`."""

from pathlib import Path

import click

from lra_bench.cli.bench.common import output_options, split_words

DEFAULTS = (
    ("task=image", "model=stu", "backbone.depth=1", "backbone.directions=one", "train.global_batch_size=16"),
    ("task=lds", "model=stu"),
)
"""A layer in its backbone on the image shape, where a step is all arithmetic, and the bare layer of `lds`, where it is
all overhead."""


@click.command(
    epilog="""\b
Examples:
  lra-bench bench train
  lra-bench bench train lds lru --seconds 10
  lra-bench bench train image s4d recipe=image/s4d --synthetic
  lra-bench bench train --json now.json --compare before.json
"""
)
@click.argument("words", nargs=-1, metavar="[TASK MODEL] [KEY=VALUE]...")
@click.option("--synthetic", is_flag=True, help="Random examples of the same shape where data are not prepared.")
@click.option("--seconds", type=click.FloatRange(min=0), default=5.0, show_default=True, help="For each of two loops.")
@output_options
def train(
    words: tuple[str, ...], synthetic: bool, seconds: float, json_path: Path | None, compare: Path | None
) -> None:
    """Examples per second of whole recipes, and what the framework adds to a bare PyTorch loop.

    The trial is the one that `lra-bench train` with the same words runs, logging included. The bare loop has the same
    network, batches, optimizer, clipping and schedule, and nothing else. They take turns in one process. Shares of a
    step are those of the bare loop; the rest is what the framework adds.

    Without words: one layer of STU in its backbone at batch 16 x 1,024 x 128 (image; random examples unless the data
    are prepared), and the bare layer of lds.
    """
    from lra_bench.benchmarks.results import older_run, publish
    from lra_bench.benchmarks.training import measure
    from lra_bench.config.compose import compose

    names, settings = split_words(words)
    if len(names) not in (0, 2):
        raise click.UsageError("name a task and a model, or neither; settings are written KEY=VALUE")
    older_run("train", compare)
    chosen = [f"{kind}={name}" for kind, name in zip(("task", "model"), names, strict=False)]
    trials = [(*chosen, *settings)] if words else DEFAULTS
    configs = [compose([*trial, "tracking.wandb=disabled"]).config for trial in trials]
    benchmark = measure(configs, seconds, synthetic or not words, say=lambda line: click.echo(line, err=True))
    publish(benchmark, json_path, compare)
