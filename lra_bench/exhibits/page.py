"""The page of all exhibits: one HTML file that needs no other and runs no script."""

from collections.abc import Sequence

from lra_bench.exhibits.exhibit import Shown
from lra_bench.report.formats.page import environment


def page(exhibits: Sequence[Shown], trials: int) -> str:
    """The text of `docs/report/index.html`.

    Args:
        exhibits: in order.
        trials: number of trials of all studies.
    """
    template = environment("lra_bench.exhibits").get_template("exhibits.html")
    return template.render(exhibits=exhibits, trials=trials)
