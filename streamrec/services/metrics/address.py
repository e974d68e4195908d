"""Where a process serves its metrics: `HOST:PORT`, or `off`."""

from typing import NamedTuple

OFF = "off"
DEFAULT = "127.0.0.1:0"


class Address(NamedTuple):
    """Where to listen. Port 0: any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address | None:
    """Raises ValueError; None: nothing is served.

    >>> parse_address("127.0.0.1:9464")
    Address(host='127.0.0.1', port=9464)
    >>> str(parse_address("[::1]:0"))
    '[::1]:0'
    >>> parse_address("off")
    """
    if text == OFF:
        return None
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    bracketed = host.startswith("[") and host.endswith("]")
    if (
        not colon
        or not bare
        or (":" in bare) != bracketed
        or not (port.isascii() and port.isdigit())
        or int(port) > 65_535
    ):
        raise ValueError(f"expected HOST:PORT (port 0: any that is free) or {OFF}, got {text!r}")
    return Address(bare, int(port))


__all__ = ["DEFAULT", "OFF", "Address", "parse_address"]
