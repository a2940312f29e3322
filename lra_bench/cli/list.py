"""`lra-bench list`: what there is to choose from."""

import click


@click.command(
    "list",
    epilog="""\b
Examples:
  lra-bench list models
  lra-bench list models --long
  lra-bench list tasks
  lra-bench list tasks --long
  lra-bench list sweeps
""",
)
@click.argument("kind", type=click.Choice(["models", "tasks", "recipes", "sweeps"]))
@click.option("--long", is_flag=True, help="Of models or tasks: load each and print all there is to know.")
def list_(kind: str, long: bool) -> None:
    """Show the names of models, tasks, recipes or shipped sweeps, without loading any of them.

    Sizes of models are those of one mixer at 64 channels and 1,024 steps.
    """
    if long and kind not in ("models", "tasks"):
        raise click.UsageError("--long is for models and tasks")
    if long:
        _long_models() if kind == "models" else _long_tasks()
    elif kind == "models":
        _models()
    elif kind == "tasks":
        _tasks()
    else:
        _files(kind)


def _models() -> None:
    import json

    from lra_bench.cli.show import print_table
    from lra_bench.config.files import SHIPPED, shipped_configs
    from lra_bench.core.registry import MODELS

    described = shipped_configs("model")
    cards = json.loads((SHIPPED / "model_cards.json").read_text(encoding="utf-8"))
    rows = []
    for entry in MODELS.entries().values():
        card = cards.get(entry.name)
        sizes = (
            [f"{card['parameters']:,}", f"{card['state_size']:,}", "yes" if card["step"] else "no"]
            if card
            else [""] * 3
        )
        origin = [] if entry.origin == "lra-bench" else [f"from {entry.origin}"]
        rows.append([entry.name, *sizes, ", ".join([described.get(entry.name, entry.path), *origin])])
    print_table(["model", "parameters", "state", "step", "what it is"], rows)


def _long_models() -> None:
    from lra_bench.cards import card_of, description
    from lra_bench.core.registry import MODELS

    for entry in MODELS.entries().values():
        card = card_of(entry.name)
        click.echo(f"{click.style(entry.name, bold=True)} ({entry.path}, from {entry.origin})")
        click.echo(f"  {card.parameters:,} parameters, state of {card.state_size:,}, step mode: {card.step}")
        click.echo("\n".join(f"  {line}".rstrip() for line in description(entry.name).splitlines()) + "\n")


def _tasks() -> None:
    from lra_bench.cli.show import print_table
    from lra_bench.config.files import shipped_configs
    from lra_bench.core.registry import TASKS

    described = shipped_configs("task")
    rows = [[entry.name, described.get(entry.name, entry.path), entry.origin] for entry in TASKS.entries().values()]
    print_table(["task", "what it is", "from"], rows)


def _long_tasks() -> None:
    from lra_bench.core.registry import TASKS
    from lra_bench.task_cards import description, facts

    for entry in TASKS.entries().values():
        click.echo(f"{click.style(entry.name, bold=True)} ({entry.path}, from {entry.origin})")
        click.echo("\n".join(f"  {heading}: {text}" for heading, text in facts(entry.name)) + "\n")
        click.echo("\n".join(f"  {line}".rstrip() for line in description(entry.name).splitlines()) + "\n")


def _files(kind: str) -> None:
    from lra_bench.cli.show import print_table
    from lra_bench.config.files import first_comment, shipped_configs
    from lra_bench.core.registry import TASKS
    from lra_bench.trials.sweepfile import shipped_sweeps

    if kind == "recipes":
        tasks = TASKS.entries()
        rows = [
            (name, source if name.partition("/")[0] in tasks else f"{source}; its task is not in this version")
            for name, source in shipped_configs("recipe").items()
        ]
    else:
        rows = [(name, first_comment(path)) for name, path in shipped_sweeps().items()]
    print_table([kind.removesuffix("s"), "what it is"], rows)
