"""Real data to check readers against, in the folder that `LRA_BENCH_TEST_DATA` names; tests skip what is not there."""

import os
from pathlib import Path

import pytest


def real(pattern: str) -> Path:
    """The file of that pattern, or the end of the test."""
    folder = os.environ.get("LRA_BENCH_TEST_DATA")
    found = sorted(Path(folder).glob(pattern)) if folder else []
    if not found:
        pytest.skip(f"LRA_BENCH_TEST_DATA does not name a folder with {pattern}")
    return found[0]


def reviews() -> Path:
    return real("aclImdb*")


def pictures() -> Path:
    return real("cifar10*.parquet")


def expressions() -> Path:
    return real("listops*.tsv.gz")
