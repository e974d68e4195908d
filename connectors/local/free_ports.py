"""Ports on this machine for processes that are about to be started."""

import random
import socket

LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """Free loopback ports below the range that outgoing connections take theirs from: while the
    broker is down, a client that knocks could otherwise be given the very port it knocks at."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randint(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports
