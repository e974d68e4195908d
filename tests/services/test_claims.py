"""`up` has its folder and its ports for itself."""

import os
import socket
from contextlib import closing
from pathlib import Path

import pytest

from streamrec.services.together.claims import ClaimError, check_free, folder_alone


def test_a_folder_that_another_up_uses_is_refused_and_says_whose_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "up"
    whose = f"that of process {os.getpid()};"
    with folder_alone(folder), pytest.raises(ClaimError, match=whose), folder_alone(folder):
        pass
    with folder_alone(folder):
        pass  # free again


def test_a_port_at_which_somebody_listens_is_refused_and_says_how_to_name_another() -> None:
    with closing(socket.create_server(("127.0.0.1", 0), reuse_port=True)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ClaimError, match=f"{port} expected to be free.*; --api-port names"):
            check_free({"--api-port": port})
    check_free({"--api-port": port})
