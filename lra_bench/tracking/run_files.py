"""Reading the files that W&B's client writes, without the client: `run-ID.wandb`.

Such a file has a head of seven bytes, then blocks of 32 KiB as in LevelDB's log format: fragments of messages, each
with its CRC-32, its length, and whether it is whole, the first, a middle or the last one. Newer clients have no public
reader for them. The messages are W&B's own (`wandb.proto`).
"""

import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from struct import Struct
from typing import Any

from lra_bench.core.errors import LraBenchError
from lra_bench.tracking.logged import LoggedRun, Row

HEAD = b":W&B\xe1\xbe\x00"
BLOCK = 2**15
FRAGMENT = Struct("<IHB")
"""CRC-32 of all that follows it, length of the content, and kind."""
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


class DamagedError(Exception):
    """The rest of a file cannot be read."""


def run_files(folder: Path) -> list[Path]:
    """The files at any depth below `folder`, those of earlier runs first."""
    return sorted(folder.rglob("run-*.wandb"))


def read_run(path: Path, name: str) -> LoggedRun:
    """Read one file, as far as that goes.

    Args:
        path: of the file.
        name: of the run, for people.

    Raises:
        LraBenchError: it holds no run, or cannot be opened.
    """
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    about: dict[str, str] = {}
    started = 0.0
    state: str | None = None
    damage: str | None = None
    try:
        for message in _messages(path):
            kind = message.WhichOneof("record_type")
            if kind == "run":
                about |= _about(message.run)
                started = started or message.run.start_time.seconds + message.run.start_time.nanos / 1e9
                _change(config, message.run.config)
                _change(summary, message.run.summary)
            elif kind == "config":
                _change(config, message.config)
            elif kind == "summary":
                _change(summary, message.summary)
            elif kind == "environment":
                about |= _environment(message.environment)
            elif kind == "exit":
                state = "failed" if message.exit.exit_code else "finished"
    except OSError as error:
        raise LraBenchError(f"cannot be read: {error.strerror}") from error
    except DamagedError as error:
        damage = str(error)
    if "run_id" not in about:
        raise LraBenchError(damage or "holds no run, as when one is killed at once")
    return LoggedRun(
        name=name,
        entity=about.get("entity"),
        project=about.get("project", "uncategorized"),
        run_id=about["run_id"],
        state=state,
        damage=damage,
        job_type=about.get("job_type"),
        config=config,
        summary=summary,
        rows=lambda: _history(path),
        started=started,
        commit=about.get("commit"),
        python=about.get("python"),
        device=about.get("gpu"),
    )


def _about(run: Any) -> dict[str, str]:
    known = {name: getattr(run, name) for name in ("run_id", "entity", "project", "job_type")}
    known["commit"] = run.git.commit
    return {name: value for name, value in known.items() if value}


def _environment(environment: Any) -> dict[str, str]:
    known = {"python": environment.python.rpartition(" ")[2], "gpu": environment.gpu_type}
    return {name: value for name, value in known.items() if value}


def _change(content: dict[str, Any], changes: Any) -> None:
    """Bring a config or a summary up to a message."""
    for item in changes.update:
        *path, last = item.nested_key or [item.key]
        inner = content
        for part in path:
            if not isinstance(inner.get(part), dict):
                inner[part] = {}
            inner = inner[part]
        inner[last] = _value(item)
    for item in changes.remove:
        *path, last = item.nested_key or [item.key]
        inner = content
        for part in path:
            found = inner.get(part)
            inner = found if isinstance(found, dict) else {}
        inner.pop(last, None)


def _value(item: Any) -> Any:
    try:
        return json.loads(item.value_json)
    except (ValueError, RecursionError) as error:
        raise DamagedError("holds a value that is no JSON") from error


def _history(path: Path) -> list[Row]:
    rows = []
    try:
        for message in _messages(path):
            if message.WhichOneof("record_type") == "history":
                row: Row = {}
                for item in message.history.item:
                    row[".".join(item.nested_key) or item.key] = _value(item)
                rows.append({"_step": message.history.step.num, **row})
    except DamagedError:
        pass
    return rows


def _messages(path: Path) -> Iterator[Any]:
    """The messages of a file, each a `wandb.proto.wandb_internal_pb2.Record`.

    Raises:
        DamagedError: from here on it cannot be read.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    for content in _contents(path):
        try:
            yield Record.FromString(content)
        except DecodeError as error:
            raise DamagedError("holds a message that W&B's client does not know") from error


def _contents(path: Path) -> Iterator[bytes]:
    """The contents of the messages."""
    parts: list[bytes] = []
    for kind, part in _fragments(path):
        if (kind in (WHOLE, FIRST)) != (not parts) or kind not in (WHOLE, FIRST, MIDDLE, LAST):
            raise DamagedError("is damaged: fragments are out of order")
        parts.append(part)
        if kind in (WHOLE, LAST):
            yield b"".join(parts)
            parts = []
    if parts:
        raise DamagedError("is cut short, as when a run is killed")


def _fragments(path: Path) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each fragment."""
    for start, block in _blocks(path):
        position = len(HEAD) if start == 0 else 0
        if start == 0 and block[:position] != HEAD:
            raise DamagedError("is not a file of W&B, or of a version that is not known here" if block else "is empty")
        while BLOCK - position >= FRAGMENT.size and position < len(block):
            begin = position + FRAGMENT.size
            if begin > len(block):
                raise DamagedError("is cut short, as when a run is killed")
            checksum, length, kind = FRAGMENT.unpack_from(block, position)
            position = begin + length
            if position > len(block) and len(block) < BLOCK:
                raise DamagedError("is cut short, as when a run is killed")
            if zlib.crc32(block[begin - 1 : position]) != checksum:
                raise DamagedError(f"is damaged at byte {start + begin}")
            yield kind, block[begin:position]


def _blocks(path: Path) -> Iterable[tuple[int, bytes]]:
    """Where each block begins, and the block; the last one may be shorter. At least one."""
    start = 0
    with path.open("rb") as file:
        while (block := file.read(BLOCK)) or start == 0:
            yield start, block
            if not block:
                return
            start += len(block)
