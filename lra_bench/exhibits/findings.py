"""Tables and conditions of exhibits in `docs/findings.md`, between the words that people wrote.

A block begins with a line `<!-- exhibit: ID WHAT -->`, where WHAT is the name of one of the exhibit's tables or
`conditions`, and ends with a line `<!-- end -->`.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from lra_bench.core.errors import FileError
from lra_bench.exhibits.exhibit import Shown
from lra_bench.report.formats.exports import markdown_safe, markdown_table

PLACE = Path("docs") / "findings.md"
"""Of the text, in a checkout."""

CONDITIONS = "conditions"

_BLOCK = re.compile(r"(<!-- exhibit: (\S+) (\S+) -->\n)(.*?)(<!-- end -->\n)", re.DOTALL)
_BEGIN = "<!-- exhibit:"


def with_blocks(text: str, exhibits: Mapping[str, Shown], path: Path) -> str:
    """The text with each block as the exhibits have it.

    Args:
        text: with any content in its blocks.
        exhibits: by id.
        path: of the text, for errors.

    Raises:
        FileError: a block names no exhibit, or none of its tables; or does not end.
    """
    if len(_BLOCK.findall(text)) != text.count(_BEGIN):
        raise FileError(path, f"has a block that is not `{_BEGIN} ID WHAT -->`, lines, `<!-- end -->`")
    return _BLOCK.sub(lambda block: f"{block[1]}\n{_content(block[2], block[3], exhibits, path)}\n{block[5]}", text)


def _content(name: str, what: str, exhibits: Mapping[str, Shown], path: Path) -> str:
    if name not in exhibits:
        raise FileError(path, f"has a block of {name}, which is no exhibit; there is {', '.join(exhibits)}")
    found = exhibits[name]
    if what != CONDITIONS and what not in found.exhibit.tables:
        raise FileError(
            path, f"has a block of {name} {what}; there is {', '.join([*found.exhibit.tables, CONDITIONS])}"
        )
    parts = [f"*Not all measured: there are no records yet of {', '.join(found.missing)}.*\n"] if found.missing else []
    if what == CONDITIONS:
        parts.append("".join(f"- {topic}: {markdown_safe(words)}\n" for topic, words in found.conditions.items()))
    parts += [markdown_table(table) for table in found.tables.get(what, ())]
    return "\n".join(filter(None, parts))
