"""Which connections of this process the kernel lists."""

import socket
import sys
from contextlib import closing

import pytest

from streamrec.dataflows.engine import peers
from streamrec.dataflows.engine.peers import connections


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel does not list connections")
def test_a_connection_that_is_listed_twice_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen while others came and went: a start took one peer for two, and then for one that had
    ended."""
    listed = peers._listed
    monkeypatch.setattr(peers, "_listed", lambda: [*listed(), *listed()])
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        with closing(socket.create_connection(("127.0.0.1", port))):
            found = connections()
    assert found is not None
    assert [each.remote_host for each in found if each.remote_port == port] == ["127.0.0.1"]
