"""Errors that are the user's to mend: shown as one line, never as a traceback."""

from pathlib import Path


class LraBenchError(Exception):
    """Something that the person at the keyboard can put right. The message says how."""


class ConfigError(LraBenchError):
    """A wrong key, value, file or name in what was asked for."""


class FileError(LraBenchError):
    """A file that cannot be used.

    Attributes:
        path: the file.
        reason: what is the matter with it, in one line that is read after the path.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.path = path
        self.reason = reason
