"""Addresses that a page may link to."""

import os
from pathlib import Path
from urllib.parse import quote, urlsplit


def relative_address(path: Path, folder: Path) -> str:
    """The address of a file or folder, as seen from a page in `folder`: `../runs/quickstart/0b832d28dee5`."""
    address = quote(os.fsencode(relative_place(path, folder)))
    return address if address.startswith("..") else f"./{address}"


def relative_place(path: Path, folder: Path) -> str:
    """Where `path` is as seen from `folder`, with `/` between names."""
    return os.path.relpath(path, folder).replace(os.sep, "/")


def web_address(address: str | None) -> str | None:
    """The address if it is a plain one of the web, http or https. None for every other one."""
    if not address or not address.isprintable() or any(character in address for character in ' \\"<>'):
        return None
    try:
        parts = urlsplit(address)
        return address if parts.scheme in ("http", "https") and parts.hostname else None
    except ValueError:
        return None


def followable(address: str | None) -> str | None:
    """The address if a link may lead there: one of the web, or one that `relative_address` gave."""
    if address is not None and address.startswith(("./", "../")) and quote(address, safe="/%") == address:
        return address
    return web_address(address)
