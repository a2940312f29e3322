"""`lra-bench doctor`: what this machine offers."""

import sys

import click


@click.command()
def doctor() -> None:
    """Show versions, devices, cores, folders and the state of W&B. Exit code 1 if something needed is missing."""
    import os
    import tempfile
    from pathlib import Path

    import torch

    from lra_bench import tracking
    from lra_bench.cli.show import print_table
    from lra_bench.environment import code_version, package_versions, python_version
    from lra_bench.nn.ops.spectral import cache_folder

    def writable(folder: Path) -> str:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return f"{folder} (writable)"
        except OSError as error:
            return f"{folder} (NOT writable: {error.strerror})"

    commit, dirty = code_version()
    decision = tracking.decide("auto")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    rows = [
        ["python", python_version()],
        *([name, version] for name, version in package_versions().items()),
        ["code", f"{commit}{' (changed)' if dirty else ''}" if commit else "installed package"],
        ["GPUs", ", ".join(gpus) or "none"],
        ["CPU cores", str(cores)],
        ["torch threads", str(torch.get_num_threads())],
        ["filter cache", writable(cache_folder())],
        ["output folder", writable(Path.cwd())],
        ["W&B (auto)", f"{decision.mode} ({decision.reason})"],
    ]
    print_table(["what", "state"], rows)
    sys.exit(1 if any("NOT writable" in state for _, state in rows) else 0)
