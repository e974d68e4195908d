"""Inputs of pipelines over HTTP, answered with an id, or with what a real scorer says."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.connectors.log import Headers, Outgoing
from streamrec.dataflows.serving.kept import KeptPipeline, KeptVersion, keep
from streamrec.models.serving.contract import Metadata
from tests.connectors.log_reading import create, wait_until
from tests.program.conftest import Shell
from tests.program.conftest import embedded_shell as embedded_shell
from tests.program.served_models import models as models
from tests.services.ingress.serving import Served, ingress


@contextmanager
def scorer(name: str) -> Iterator[None]:
    """The pipeline's own process."""
    command = [sys.executable, "-m", "streamrec", "pipeline", "run", name]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def test_an_input_is_answered_with_its_output_when_asked_to_wait(
    embedded_shell: Shell, models: Path, tmp_path: Path
) -> None:
    made = embedded_shell("pipeline", "create", "iris", "--model", "flowers:Iris")
    assert made.status == 0, made.err
    log = EmbeddedLog(tmp_path / "log.sqlite")
    with ingress(log, "pipelines") as served, scorer("iris"):
        client = served.client
        first = client.post("/pipelines/iris?wait=30s", json={"petal_width": 1.4})
        assert first.status_code == 200, first.text
        assert first.json()["output"] == {"species": "setosa"}
        again = client.post(
            "/pipelines/iris?wait=20s",
            json={"petal_width": 2},
            headers={"idempotency-key": "mine"},
        )
        assert again.json() == {"id": "mine", "output": {"species": "virginica"}}
        unfit = client.post("/pipelines/iris?wait=20s", json={"petal_width": "wide"})
        assert (unfit.status_code, unfit.json()["reason"]) == (422, "invalid_value")
        at_once = client.post("/pipelines/iris", json={"petal_width": 1})
        place = at_once.json()
        assert at_once.status_code == 200 and place["topic"].endswith(".inputs")

        def answered() -> bool:
            lines = embedded_shell("receive", "--pipeline", "iris", "--meta").lines
            found = [json.loads(line)["headers"].get("streamrec-request-id") for line in lines]
            return place["id"] in found

        wait_until(answered)


INPUTS, OUTPUTS = "live.iris.1.0.inputs", "live.iris.1.0.outputs"


@pytest.fixture
def served(embedded_log: EmbeddedLog) -> Iterator[Served]:
    """Two pipelines that nobody runs, one of pictures, and one that reads another's outputs."""
    for name, kinds, reads in (
        ("iris", (), None),
        ("picture", ("image/png",), None),
        ("second", (), ["model:iris"]),
    ):
        metadata = Metadata(name, name, "", 1, 0, None, None, kinds)
        entry = {"model": "a:B"} | ({"inputs": reads} if reads else {})
        keep(embedded_log, KeptPipeline(name, "live", entry, "1.0", (KeptVersion(metadata, ()),)))
        for kind in ("inputs", "outputs", "errors"):
            create(embedded_log, f"live.{name}.1.0.{kind}")
    with ingress(embedded_log, "pipelines") as found:
        yield found


def test_an_output_that_does_not_come_is_told_with_the_id(served: Served) -> None:
    answer = served.client.post("/pipelines/iris?wait=300ms", json=1)
    assert answer.status_code == 504
    (record,) = served.records(INPUTS)
    assert dict(record.headers)["streamrec-request-id"] == answer.json()["id"].encode()


def test_an_input_that_is_sent_again_is_written_once(served: Served) -> None:
    headers = {"idempotency-key": "once"}
    first, again = (served.client.post("/pipelines/iris", json=1, headers=headers) for _ in "ab")
    assert first.json()["id"] == again.json()["id"] == "once"
    assert again.json()["duplicate"] is True
    assert len(served.records(INPUTS)) == 1


def test_who_waits_gets_no_answer_of_another(served: Served) -> None:
    """The same id under another key is another input, whose output has that key."""
    headers = {"idempotency-key": "1"}
    assert (
        served.client.post("/pipelines/iris?record_key=b", json=1, headers=headers).status_code
        == 200
    )
    twice = served.client.post("/pipelines/iris?record_key=b&wait=1s", json=1, headers=headers)
    assert (twice.status_code, "sent before" in twice.json()["detail"]) == (409, True)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(
            served.client.post, "/pipelines/iris?record_key=a&wait=5s", json=1, headers=headers
        )
        wait_until(lambda: len(served.records(INPUTS)) == 2)
        named: Headers = [("streamrec-request-id", b"1")]
        with closing(served.log.writer()) as writer:
            for key, value in ((b"b", b'"other"'), (b"a", b'"own"')):
                writer.write(OUTPUTS, [Outgoing(key, value, named)])
        assert waiting.result().json() == {"id": "1", "output": "own"}


@pytest.mark.parametrize(
    ("path", "kind", "status", "expected"),
    [
        ("/pipelines/none", "application/json", 404, "pipeline expected one"),
        ("/pipelines/second", "application/json", 409, "inputs of its own"),
        ("/pipelines/iris?wait=soon", "application/json", 400, "query wait expected"),
        ("/pipelines/iris?wait=31s", "application/json", 400, "up to 30s"),
        ("/pipelines/iris", "image/png", 415, "expected application/json"),
        ("/pipelines/picture", "application/json", 415, "expected image/png"),
    ],
)
def test_what_is_wrong_is_told(
    served: Served, path: str, kind: str, status: int, expected: str
) -> None:
    answer = served.client.post(path, content=b"1", headers={"content-type": kind})
    assert answer.status_code == status
    assert expected in answer.json()["detail"]
    assert served.records(INPUTS) == []


def test_a_picture_keeps_its_type(served: Served) -> None:
    served.client.post(
        "/pipelines/picture", content=b"\x89PNG", headers={"content-type": "image/png"}
    )
    (record,) = served.records("live.picture.1.0.inputs")
    assert record.value == b"\x89PNG"
    assert dict(record.headers)["content-type"] == b"image/png"
