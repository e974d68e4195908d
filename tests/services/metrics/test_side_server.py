"""The side server, and the notes by which others find it: on real sockets and real files."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from streamrec.services.metrics.http_measures import HttpMeasures
from streamrec.services.metrics.looking import look_at, looked
from streamrec.services.metrics.notes import Note, notes_folder, read_notes, write_note
from streamrec.services.metrics.watched import Watched, watch_process


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def seen() -> Iterator[Watched]:
    watched = watch_process("api", "shop", "127.0.0.1:0")
    yield watched
    watched.close()


def get(seen: Watched, path: str, method: str = "GET") -> tuple[int, str, str]:
    assert seen.address is not None
    connection = http.client.HTTPConnection(*seen.address, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, answer.headers["Content-Type"], body


def test_metrics_are_prometheus_text_with_what_the_process_is(seen: Watched) -> None:
    seen.gauge("streamrec_queue_records", "What waits.", lambda: 7.0, queue="writer")
    seen.gauge("streamrec_queue_records", "What waits.", lambda: None, queue="unknown")
    measures = HttpMeasures("api")
    seen.registry.register(measures)
    measures.answered("GET", "/recommendations/{user}", 200, 0.003)

    status, kind, body = get(seen, "/metrics")

    assert (status, kind.split(";")[0]) == (200, "text/plain")
    found = looked(body)
    (info,) = found.labels("streamrec_process_info")
    assert (info["kind"], info["name"], info["index"]) == ("api", "shop", "0")
    assert found.series["streamrec_queue_records"] == [({"queue": "writer"}, 7.0)]
    requests = {"service": "api", "method": "GET", "route": "/recommendations/{user}"}
    assert found.series["streamrec_http_requests_total"] == [({**requests, "status": "200"}, 1.0)]
    assert found.buckets("streamrec_http_request_duration_seconds")[0.005] == 1.0
    assert found.total("process_cpu_seconds_total") or sys.platform != "linux"


def test_health_says_why_it_is_not_ready_and_is_alive_all_the_same(seen: Watched) -> None:
    assert get(seen, "/health/ready")[0] == 200
    seen.health.set("log", "the log does not answer")

    status, kind, body = get(seen, "/health")

    assert (status, kind) == (503, "application/json")
    assert json.loads(body)["reasons"] == ["the log does not answer"]
    assert get(seen, "/health/ready")[0] == 503
    assert get(seen, "/health/live")[0] == 200
    assert looked(get(seen, "/metrics")[2]).total("streamrec_ready") == 0.0
    seen.health.set("log", None)
    assert get(seen, "/health")[0] == 200


def test_other_paths_and_methods_are_refused(seen: Watched) -> None:
    assert get(seen, "/secrets")[0] == 404
    assert get(seen, "/metrics", "POST")[0] == 501
    assert get(seen, "/health/live", "HEAD") == (200, "application/json", "")


def test_measure_that_raises_does_not_end_the_server(seen: Watched) -> None:
    seen.gauge("streamrec_broken", "Cannot be had.", lambda: 1 / 0)

    assert get(seen, "/metrics")[0] == 500
    assert get(seen, "/health/live")[0] == 200


def test_silent_client_does_not_keep_others_from_their_answer(seen: Watched) -> None:
    assert seen.address is not None
    with socket.create_connection(seen.address):
        assert get(seen, "/health/live")[0] == 200


def test_client_that_dribbles_is_left(seen: Watched) -> None:
    assert seen.address is not None
    over = threading.Event()
    with socket.create_connection(seen.address) as slow:
        slow.sendall(b"GET /health/live HTTP/1.0\r\nx: ")

        def dribble() -> None:
            with suppress(OSError):
                while not over.wait(0.2):
                    slow.sendall(b"x")

        thread = threading.Thread(target=dribble)
        thread.start()
        begun_s = time.monotonic()
        assert get(seen, "/health/live")[0] == 200
        assert time.monotonic() - begun_s < 8.0
        over.set()
        thread.join()


def test_port_that_is_taken_makes_it_take_the_next(seen: Watched) -> None:
    assert seen.address is not None
    second = watch_process("api", "shop", str(seen.address), index=1)

    assert second.address is not None
    assert seen.address.port < second.address.port <= seen.address.port + 16
    assert get(second, "/health/live")[0] == 200
    second.close()


def test_address_that_cannot_be_had_is_told_and_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen = watch_process("api", "shop", "192.0.2.1:9464")  # of documentation, nobody's

    assert seen.address is None
    assert "no metrics are served: 192.0.2.1:9479: " in caplog.text
    seen.close()


def test_off_serves_nowhere_and_measures_may_be_added_all_the_same() -> None:
    seen = watch_process("api", "shop", "off")
    seen.gauge("streamrec_queue_records", "What waits.", lambda: 7.0)

    assert seen.address is None
    assert read_notes() == []


@pytest.mark.parametrize("address", ["9464", "127.0.0.1", "127.0.0.1:x", ":1", "::1:0", "a:70000"])
def test_wrong_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"expected HOST:PORT .* or off, got"):
        watch_process("api", "shop", address)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("counter", "streamrec_sent"), ("gauge", "streamrec_sent_total"), ("gauge", "sent")],
)
def test_names_against_the_conventions_are_refused(seen: Watched, kind: str, name: str) -> None:
    with pytest.raises(ValueError, match="expected a name that begins with streamrec_"):
        getattr(seen, kind)(name, "What was sent.", lambda: 1.0)


def test_one_name_has_the_same_labels_everywhere(seen: Watched) -> None:
    seen.gauge("streamrec_queue_records", "What waits.", lambda: 7.0, queue="writer")
    with pytest.raises(ValueError, match=r"expected labels \['queue'\], got \['topic'\]"):
        seen.gauge("streamrec_queue_records", "What waits.", lambda: 7.0, topic="clicks")


def test_process_is_found_by_its_note_until_it_closes(seen: Watched) -> None:
    (note,) = read_notes()

    assert (note.pid, note.kind, note.name, note.address) == (
        os.getpid(),
        "api",
        "shop",
        str(seen.address),
    )
    found = look_at(note)
    assert found is not None
    assert found.total("streamrec_ready") == 1.0
    seen.close()
    assert read_notes() == []
    assert look_at(note) is None


def test_note_of_a_process_that_was_killed_is_removed_by_who_looks() -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    path = write_note(Note(done.pid, "api", "shop", 0, "127.0.0.1:1", 0.0))
    garbage = path.with_name("garbage.json")
    garbage.write_text("{")

    assert read_notes() == []
    assert not path.exists()
    assert not garbage.exists()


def test_who_has_the_port_of_another_is_not_taken_for_it(seen: Watched) -> None:
    assert look_at(Note(os.getppid(), "api", "shop", 0, str(seen.address), 0.0)) is None


def test_folder_of_notes_is_this_users_alone() -> None:
    write_note(Note(os.getpid(), "api", "shop", 0, "127.0.0.1:1", 0.0))
    folder = notes_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)

    with pytest.raises(
        PermissionError, match=r"that no other can write to, got user \d+, mode 777"
    ):
        read_notes()
