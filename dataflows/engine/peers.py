"""Which processes of the cluster this one is connected with, as the kernel lists its connections.

The engine tells nobody: while it joins it waits for ever, and while a worker waits for something
else it does not see that a peer has died. Process i connects to those before it, and those behind
it connect to the address of process i.
"""

import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_ESTABLISHED = "01"  # in the kernel's table


class Connection(NamedTuple):
    """An established TCP connection of this process."""

    local_port: int
    remote_host: str
    remote_port: int


def connections() -> list[Connection] | None:
    """Those of this process; None: this kernel does not list them (it is not Linux)."""
    try:
        ours = set(_descriptors())
        # While others come and go the kernel may list one twice.
        found = {inode: each for inode, each in _listed() if f"socket:[{inode}]" in ours}
    except OSError:
        return None
    return list(found.values())


def _descriptors() -> Iterator[str]:
    """What each file descriptor of this process stands for."""
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            yield str(path.readlink())


def _listed() -> Iterator[tuple[str, Connection]]:
    """By inode of the socket, all of this network namespace."""
    for table in ("tcp", "tcp6"):
        path = Path(f"/proc/self/net/{table}")
        if table == "tcp6" and not path.exists():
            continue  # a kernel without IPv6
        for line in path.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _ESTABLISHED:
                _, local_port = _endpoint(fields[1])
                yield fields[9], Connection(local_port, *_endpoint(fields[2]))


def _endpoint(text: str) -> tuple[str, int]:
    """`0100007F:0835` is 127.0.0.1, port 2101: words of an address are in the machine's order."""
    address, _, port = text.partition(":")
    raw = bytes.fromhex(address)
    words = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    if words[:12] == b"\0" * 10 + b"\xff\xff":
        words = words[12:]  # IPv4 by way of IPv6
    family = socket.AF_INET if len(words) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, words), int(port, 16)


class Peers:
    """The other processes of a cluster."""

    def __init__(self, index: int, addresses: Sequence[str]) -> None:
        self._index = index
        self._addresses = list(addresses)

    def __len__(self) -> int:
        return max(0, len(self._addresses) - 1)

    def connected(self) -> int | None:
        """With how many; None: nobody can say."""
        found = connections()
        return None if found is None else len(self._outward(found)) + len(self._inward(found))

    def missing(self) -> list[str]:
        """Addresses of those that are not connected, as far as can be told."""
        others = [a for index, a in enumerate(self._addresses) if index != self._index]
        found = connections()
        if found is None:
            return others
        outward = {(c.remote_host, c.remote_port) for c in self._outward(found)}
        before = self._addresses[: self._index]
        missing = [a for a in before if not outward & {(h, _port(a)) for h in _hosts(a)}]
        behind = self._addresses[self._index + 1 :]
        inward = [c.remote_host for c in self._inward(found)]
        for address in list(behind):
            here = next((host for host in inward if host in _hosts(address)), None)
            # Several on one machine look alike: only where all of them are there is each there.
            alike = [other for other in behind if _hosts(other) & _hosts(address)]
            if here is None or sum(host in _hosts(address) for host in inward) < len(alike):
                missing.append(address)
        return missing

    def _outward(self, found: list[Connection]) -> list[Connection]:
        ports = {_port(address) for address in self._addresses[: self._index]}
        return [c for c in found if c.remote_port in ports]

    def _inward(self, found: list[Connection]) -> list[Connection]:
        if self._index == len(self._addresses) - 1:
            return []
        own = _port(self._addresses[self._index])
        return [c for c in found if c.local_port == own]


def _port(address: str) -> int:
    port = address.rpartition(":")[2]
    return int(port) if port.isdigit() else -1


def _hosts(address: str) -> set[str]:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError:
        return {host}
