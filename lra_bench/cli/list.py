"""`lra-bench list`: what there is to choose from."""

import click


@click.command(
    "list",
    epilog="""\b
Examples:
  lra-bench list models
  lra-bench list tasks
  lra-bench list sweeps
""",
)
@click.argument("kind", type=click.Choice(["models", "tasks", "recipes", "sweeps"]))
def list_(kind: str) -> None:
    """Show the names of models, tasks, recipes or shipped sweeps, without loading any of them."""
    from lra_bench.cli.show import print_table
    from lra_bench.config.files import first_comment, shipped_configs
    from lra_bench.core.registry import MODELS, TASKS
    from lra_bench.trials.sweepfile import shipped_sweeps

    if kind == "recipes":
        print_table(["recipe", "what it is"], list(shipped_configs("recipe").items()))
        return
    if kind == "sweeps":
        print_table(["sweep", "what it is"], [[name, first_comment(path)] for name, path in shipped_sweeps().items()])
        return
    registry = MODELS if kind == "models" else TASKS
    described = shipped_configs(registry.kind)
    rows = [[entry.name, described.get(entry.name, entry.path), entry.origin] for entry in registry.entries().values()]
    print_table([registry.kind, "what it is", "from"], rows)
