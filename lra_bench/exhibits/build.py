"""All that is made of the committed records: the page of exhibits, a report per study, and the findings' tables."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from lra_bench.core.errors import FileError
from lra_bench.core.files import write_atomically
from lra_bench.exhibits import findings
from lra_bench.exhibits.exhibit import Shown, shown
from lra_bench.exhibits.page import page
from lra_bench.exhibits.records import Studies, read_studies
from lra_bench.exhibits.spec import read
from lra_bench.report.build import compose
from lra_bench.report.figures.pictures import painted
from lra_bench.report.frame import frame_of
from lra_bench.report.trial import Trial

REPORT = Path("docs") / "report"
"""Folder of the pages, in a checkout; nothing else is in it."""

KEPT = ("index.html", "leaderboard.csv", "sensitivity.csv")
"""Files of a study's report that are committed: the page holds its figures."""


def write(root: Path) -> list[Path]:
    """Write everything into a checkout.

    Returns:
        The files, relative to it.

    Raises:
        LraBenchError: see `exhibit_files`; or a file cannot be written.
    """
    exhibits = read(root)
    studies = read_studies(root, sorted({study for exhibit in exhibits for study in exhibit.studies}))
    files = exhibit_files(root, studies)
    for name, trials in studies.items():
        files |= study_files(root, name, trials)
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(root / path, text)
    return list(files)


def exhibit_files(root: Path, studies: Studies) -> dict[Path, str]:
    """The page of exhibits, the findings and the figures that these show, by path relative to the checkout.

    Raises:
        FileError: `docs/exhibits.yaml` or `docs/findings.md` cannot be used.
        LraBenchError: see `shown`.
    """
    exhibits = {exhibit.id: shown(exhibit, studies) for exhibit in read(root)}
    trials = sum(map(len, studies.values()))
    text = _findings(root, exhibits)
    return {
        REPORT / "index.html": page(list(exhibits.values()), trials),
        findings.PLACE: text,
        **dict(_figures(exhibits, text)),
    }


def study_files(root: Path, name: str, trials: list[Trial]) -> dict[Path, str]:
    """The report on a study, by path relative to the checkout."""
    folder = REPORT / name
    _, texts = compose(frame_of(trials), root / folder, painted)
    return {folder / kept: texts[kept] for kept in KEPT}


def _figures(exhibits: Mapping[str, Shown], text: str) -> Iterator[tuple[Path, str]]:
    """The figures that a text names, as files."""
    for each in exhibits.values():
        for picture in each.pictures:
            if f"figures/{picture.name}.svg" in text:
                yield REPORT / "figures" / f"{picture.name}.svg", picture.svg


def _findings(root: Path, exhibits: Mapping[str, Shown]) -> str:
    path = root / findings.PLACE
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(path, f"cannot be read: {error.strerror}") from error
    return findings.with_blocks(text, exhibits, path)
