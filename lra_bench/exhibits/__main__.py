"""`python -m lra_bench.exhibits FOLDER` makes docs/report/ and the tables of docs/findings.md of results/."""

import sys
from pathlib import Path

from lra_bench.core.errors import LraBenchError
from lra_bench.exhibits.build import write

if __name__ == "__main__":
    try:
        write(Path(sys.argv[1]))
    except LraBenchError as error:
        sys.exit(f"error: {error}")
