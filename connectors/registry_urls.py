"""SCHEMA_REGISTRY_URL: one URL or several, with commas."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit


def registry_urls(text: str) -> list[str]:
    """The URLs without a slash at their end. Raises ValueError for what cannot be one.

    >>> registry_urls("http://one:8081/, https://two/apis/ccompat/v7")
    ['http://one:8081', 'https://two/apis/ccompat/v7']
    >>> registry_urls("http://one:http")
    Traceback (most recent call last):
    ValueError: expected an http:// or https:// URL, got 'http://one:http': no such port
    """
    urls = [part.strip().rstrip("/") for part in text.split(",")]
    for url in urls:
        complaint = _complaint_of(url)
        if complaint is not None:
            raise ValueError(
                # All of it, since a comma may stand in a password.
                f"expected an http:// or https:// URL, got {without_user(text)!r}: {complaint}"
            )
    return urls


def shown(urls: Iterable[str]) -> str:
    """For messages: a URL may carry a password."""
    return ", ".join(repr(without_user(url)) for url in urls)


def without_user(url: str) -> str:
    """A URL without user and password.

    >>> without_user("http://me:secret@host/path")
    'http://host/path'
    """
    return re.sub(r"//.*@", "//", url, flags=re.DOTALL)


def _complaint_of(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        return "no such port" if "ort" in str(error) else str(error)
    if parts.scheme not in ("http", "https"):
        return "no such scheme"
    if not host:
        return "no host"
    if port == 0:
        return "no such port"
    if re.search(r"[\s<>\"{}|\\^`]", url):
        return "characters that no URL has"
    if parts.query or parts.fragment or "?" in url:
        return "more than host, port and path"
    return None


__all__ = ["registry_urls", "shown", "without_user"]
