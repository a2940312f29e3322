"""Where numbers come from: code version, packages, memory used."""

import os
import platform
import subprocess
import sys
from functools import lru_cache
from importlib import metadata
from pathlib import Path

PACKAGES = ("lra-bench", "torch", "lightning", "torchmetrics", "numpy", "omegaconf")


@lru_cache(maxsize=1)
def package_versions() -> dict[str, str]:
    """Versions of the packages that results depend on."""
    return {name: metadata.version(name) for name in PACKAGES}


def python_version() -> str:
    """Such as "3.12.1"."""
    return platform.python_version()


def processor() -> tuple[str, int, float]:
    """Name of the processor, cores that this process may use, and memory of the machine in units of 1e9 bytes."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text(encoding="utf-8").splitlines() if described.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else float("nan")
    return (names[0] if names else platform.processor() or platform.machine()), cores, memory / 1e9


@lru_cache(maxsize=1)
def code_version() -> tuple[str | None, bool | None]:
    """Git commit of this code and whether it was changed since; (None, None) for an installed package."""
    if _git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return commit, bool(changes)


def peak_memory_mb(on_gpu: bool) -> float | None:
    """Most memory used so far, in units of 1e6 bytes: of the current GPU's allocator, or of this process."""
    if on_gpu:
        import torch

        return torch.cuda.max_memory_allocated() / 1e6
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _git(*arguments: str) -> str | None:
    """Output of a git command in the package's folder, None where it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
