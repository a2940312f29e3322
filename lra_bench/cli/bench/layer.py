"""`lra-bench bench layer`."""

from pathlib import Path

import click

from lra_bench.cli.bench.common import chosen_device, machine_options, output_options, split_words

MODELS = ("stu", "lru", "s4d")
SHAPES = ("image", "listops", "text", "pathx", "lds")


@click.command(
    epilog="""\b
Examples:
  lra-bench bench layer stu lru s4d
  lra-bench bench layer stu --shape image256 --shape 8,512,64 --dtype float32 --dtype bfloat16
  lra-bench bench layer stu model.alternating=false --peer their_code.py:make_layer
  lra-bench bench layer --json now.json --compare before.json
"""
)
@click.argument("words", nargs=-1, metavar="[MODEL]... [model.KEY=VALUE]...")
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="NAME|B,L,D",
    help="image, image256, listops, text, pathx, lds, or sizes. Repeat for more.  [default: all but image256]",
)
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    default=("float32",),
    type=click.Choice(["float32", "float64", "bfloat16"]),
    show_default=True,
    help="bfloat16 is under autocast. Repeat for more.",
)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="FILE.py:FACTORY",
    help="Measure somebody else's layer beside ours, in float32. Repeat for more.",
)
@click.option("--block", is_flag=True, help="With GELU and a gated linear map behind each mixer, as in a network.")
@click.option("--seconds", type=click.FloatRange(min=0), default=1.0, show_default=True, help="Spent on each figure.")
@machine_options
@output_options
def layer(
    words: tuple[str, ...],
    shapes: tuple[str, ...],
    dtypes: tuple[str, ...],
    peers: tuple[str, ...],
    block: bool,
    seconds: float,
    device: str,
    threads: int | None,
    json_path: Path | None,
    compare: Path | None,
) -> None:
    """Time, memory and error of single layers.

    What is measured is a forward and a backward pass on an input of the size that a task has.
    Layers on the same input take turns, each in a process of its own; a pass during which other processes ran is left
    out where three others remain. Times are medians. Memory is the most that a pass takes above layer and input.

    The error is that of output and gradients, relative to the largest value of each, against the layer in float64 and,
    for models that have a step mode, against 128 single steps; the larger one counts.

    "Least" is the time in which the machine could move the bytes that must move, or do the operations that the layer's
    matrix products and Fourier transforms have, at the rates of a large copy and a large product in the same run.

    A peer's FACTORY(batch, length, width) gives a torch module from (B, L, D) to (B, L, D), or, of any framework, a
    function that does one forward and backward pass and returns when it is done.
    """
    import torch

    from lra_bench.benchmarks.cases import our_maker, peer_maker, shape_of
    from lra_bench.benchmarks.layer import Plan, measure, routes
    from lra_bench.benchmarks.results import older_run, publish
    from lra_bench.core.errors import ConfigError

    names, settings = split_words(words)
    older_run("layer", compare)
    makers = [our_maker(name, settings, block) for name in dict.fromkeys(names or MODELS)]
    others = [peer_maker(peer) for peer in peers]
    shown = [maker.name for maker in (*makers, *others)]
    if twice := sorted({name for name in shown if shown.count(name) > 1}):
        raise ConfigError(f"two layers are called {twice[0]}; give the factory another name")
    where = chosen_device(device, threads)
    plan = Plan(
        makers,
        others,
        [shape_of(word) for word in dict.fromkeys(shapes or SHAPES)],
        list(dict.fromkeys(dtypes)),
        where,
        torch.get_num_threads(),
        seconds,
    )
    benchmark = measure(plan, say=lambda line: click.echo(line, err=True))
    publish(benchmark, json_path, compare)
    for line in routes(benchmark):
        click.echo(line)
