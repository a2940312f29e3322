"""Errors that are the user's to mend: shown as one line, never as a traceback."""


class LraBenchError(Exception):
    """Something that the person at the keyboard can put right. The message says how."""


class ConfigError(LraBenchError):
    """A wrong key, value, file or name in what was asked for."""
