"""IMDb large movie reviews: from the hub, the official archive, or a folder of the same layout."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lra_bench.core.errors import LraBenchError
from lra_bench.data.hub import hub_rows
from lra_bench.data.members import read_members

HUB = "stanfordnlp/imdb"
HUB_REVISION = "e6281661ce1c48d982bc483cf8a173c1bbeb5d31"
REVIEW = re.compile(r"(?:^|/)(?P<part>train|test)/(?P<label>neg|pos)/\d+_(?P<rating>\d+)\.txt$")
PARTS = {"train": 0, "test": 2}
LABELS = {"neg": 0, "pos": 1}


@dataclass(frozen=True, order=True)
class Review:
    """One review; the order is by part, class and text, so that every source gives the same sequence."""

    part: int
    label: int
    text: str


def read_reviews(source: Path | None, show_progress: bool) -> list[Review]:
    """All labelled reviews, sorted.

    Args:
        source: a folder or archive with files `{train,test}/{pos,neg}/<id>_<rating>.txt`; None for the hub.
        show_progress: draw a progress bar.

    Raises:
        LraBenchError: unreadable source, no reviews in it, a part or class missing, text that is not UTF-8, or a rating
            that contradicts its class (at most 4 is negative, at least 7 positive).
    """
    reviews = sorted(_from_hub() if source is None else _from_files(source, show_progress))
    found = {(review.part, review.label) for review in reviews}
    if len(found) < len(PARTS) * len(LABELS):
        raise LraBenchError(
            f"{source or HUB} does not hold reviews of both classes for both parts; expected files such as "
            "train/pos/0_9.txt, as in aclImdb_v1.tar.gz"
        )
    return reviews


def _from_hub() -> Iterator[Review]:
    for name, part in PARTS.items():
        for row in hub_rows(HUB, HUB_REVISION, name, ("text", "label")):
            yield Review(part, int(row["label"]), str(row["text"]))


def _from_files(source: Path, show_progress: bool) -> Iterator[Review]:
    for name, file in read_members(source, lambda name: bool(REVIEW.search(name)), show_progress):
        match = REVIEW.search(name)
        assert match is not None
        rating = int(match["rating"])
        if not (rating <= 4 if match["label"] == "neg" else rating >= 7):
            raise LraBenchError(f"{source}: {name} has a rating that contradicts its class; is the archive IMDb's?")
        try:
            text = file.read().decode("utf-8")
        except UnicodeDecodeError as error:
            raise LraBenchError(f"{source}: {name} is not UTF-8 text; get the archive again") from error
        yield Review(PARTS[match["part"]], LABELS[match["label"]], text)
