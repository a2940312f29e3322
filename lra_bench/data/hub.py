"""Rows of data sets on the Hugging Face hub, at a pinned revision."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lra_bench.core.errors import LraBenchError

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
REVISION = re.compile(r"[0-9a-f]{40}")


def hub_rows(repository: str, revision: str, split: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Read one split, in the hub's order, through `datasets`, which keeps what it fetched in its own cache.

    No code from the repository is run: `datasets` has not been able to since version 4.

    Args:
        repository: owner/name.
        revision: commit, 40 hexadecimal digits.
        split: the hub's name of the split.
        columns: to read; pictures come as Pillow images.

    Returns:
        Rows, as column -> value.

    Raises:
        LraBenchError: `datasets` is not installed, the hub cannot be reached, or a column is missing.
    """
    if not (REPOSITORY.fullmatch(repository) and REVISION.fullmatch(revision)):
        raise LraBenchError(f"{repository}@{revision} is not owner/name and a full commit hash: pin both")
    if Path(repository).exists():
        raise LraBenchError(f"the folder {repository} here would be taken for the hub's: work in another folder")
    try:
        import datasets
    except ImportError as problem:
        raise LraBenchError(
            f"reading {repository} from the hub needs one more package: pip install 'lra-bench[hub]' "
            "(in a checkout: pip install -c constraints.txt -e '.[hub]'); or give the data with --source PATH"
        ) from problem
    try:
        rows = datasets.load_dataset(repository, revision=revision, split=split).select_columns(list(columns))
    except Exception as problem:
        reason = next(iter(str(problem).splitlines()), "") or type(problem).__name__
        raise LraBenchError(
            f"cannot read {repository} from the hub ({reason}): check the network, or give the data with --source PATH"
        ) from problem
    return iter(rows)
