"""Fixtures for every test: both logs, and the real Kafka and registry behind one of them.

`--kafka local` (the default) starts a broker and a registry, once, when the first test asks for
them; `--kafka external` uses KAFKA_BOOTSTRAP_SERVERS and SCHEMA_REGISTRY_URL; `--kafka none` skips
what needs them. Topics of a run share a prefix and are deleted at its end.
"""

import itertools
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from streamrec.connectors.backend import open_log
from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.connectors.local.jars import kafka_jars, registry_folder
from streamrec.connectors.local.kafka import LocalKafka, local_kafka
from streamrec.connectors.log import Log
from streamrec.connectors.log_settings import LogSettings, kafka_options_from

_RUN = f"test-{secrets.token_hex(4)}"
_numbers = itertools.count()


class KafkaPair(NamedTuple):
    """Where the broker and the registry of this run are."""

    bootstrap_servers: str
    registry_url: str
    local: LocalKafka | None  # None with `--kafka external`


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kafka",
        choices=("local", "external", "none"),
        default="local",
        help="where tests marked `kafka` find a broker and a registry (default: start them)",
    )


# By file, what begins the name or the parameters of tests that `./justw slow` runs and each run
# leaves out: their brothers on the embedded log, or with other parameters, tell the most of it.
SLOW = (
    ("docs/test_timed_dataflow.py", "[kafka"),
    ("docs/test_your_own_dataflow.py", "[kafka"),
    ("docs/test_your_own_model.py", "[kafka"),
    ("docs/test_serve.py", "[kafka"),
    ("docs/test_answering_later.py", "test_the_test_of_the_page"),
    ("docs/test_your_own_dataflow.py", "test_the_test_of_the_page"),
    ("examples/test_cars_page.py", "test_the_page_as_a_reader"),
    ("connectors/test_ticks.py", "[kafka"),
    ("connectors/test_timed_table.py", "[kafka"),
    ("connectors/test_following.py", "[kafka"),
    ("dataflows/test_recovery_processes.py", "[transactions]"),
    ("dataflows/test_recovery_processes.py", "test_supervisor_brings_back"),
    ("dataflows/test_recovery_processes.py", "test_at_least_once_loses"),
    ("dataflows/test_named_models.py", "[kafka-transactions]"),
    (
        "dataflows/test_scorer_lists.py",
        "test_a_list_that_changes_skips_nothing_and_repeats_nothing[True",
    ),
    ("dataflows/test_waiting.py", "[way1]"),
    ("dataflows/test_measures.py", "[kafka"),
    ("dataflows/test_clocks.py", "[kafka"),
    ("dataflows/test_recommender.py", "[kafka"),
    ("dataflows/test_store.py", "[kafka"),
    ("dataflows/test_timed_tables.py", "test_killed_and_started_again"),
    ("dataflows/faults/test_store_faults.py", "test_a_flow_that_is_killed"),
    ("program/test_both_back_ends.py", "test_a_pipeline_is_created"),
    ("models/test_keyed_rows.py", "test_a_million_rows"),
    ("test_wheel.py", "[module]"),
    ("test_wheel.py", "[engine]"),
)
_ROOT = Path(__file__).parent


def is_slow(item: pytest.Item) -> bool:
    """Whether a test is one of `SLOW`."""
    path = item.path.relative_to(_ROOT).as_posix()
    return any(path == file and part in item.name for file, part in SLOW)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if is_slow(item):
            item.add_marker(pytest.mark.slow)
    if config.getoption("--kafka") == "none":
        skip = pytest.mark.skip(reason="needs a broker and a registry, and --kafka is 'none'")
        for item in items:
            if item.get_closest_marker("kafka"):
                item.add_marker(skip)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch what the broker needs before any test's time limit runs."""
    if session.config.option.collectonly or session.config.getoption("--kafka") != "local":
        return
    if any(item.get_closest_marker("kafka") for item in session.items):
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")

        def say(text: str) -> None:
            if reporter is not None:
                reporter.write_line(f"local kafka: {text}")

        kafka_jars(say)
        registry_folder(say)


@pytest.fixture(scope="session")
def kafka_pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KafkaPair]:
    """The broker and the registry; for tests marked `kafka`."""
    mode = request.config.getoption("--kafka")
    if mode == "none":
        pytest.skip("needs a broker and a registry, and --kafka is 'none'")
    if mode == "external":
        names = ("KAFKA_BOOTSTRAP_SERVERS", "SCHEMA_REGISTRY_URL")
        found = [os.environ.get(name) for name in names]
        if not all(found):
            pytest.fail(f"--kafka external expected {' and '.join(names)} to be set, got {found}")
        yield KafkaPair(str(found[0]), str(found[1]), None)
        return
    # pytest keeps the folders of its last three runs: the logs are there when something failed.
    with local_kafka(tmp_path_factory.mktemp("kafka")) as kafka:
        yield KafkaPair(kafka.bootstrap_servers, kafka.registry_url, kafka)


@pytest.fixture(scope="session")
def kafka_settings(kafka_pair: KafkaPair, tmp_path_factory: pytest.TempPathFactory) -> LogSettings:
    return LogSettings(
        kafka_bootstrap_servers=kafka_pair.bootstrap_servers,
        # What the environment says about a broker is not meant for the one that we started.
        kafka_options={} if kafka_pair.local else kafka_options_from(os.environ),
        embedded_log_path=tmp_path_factory.mktemp("unused") / "log.sqlite",
        schema_registry_url=kafka_pair.registry_url,
    )


@pytest.fixture(scope="session")
def kafka_log(kafka_settings: LogSettings) -> Iterator[Log]:
    log = open_log(kafka_settings)
    yield log
    with closing(log.admin()) as admin:
        for topic in admin.topics():
            if topic.startswith(_RUN):
                admin.delete(topic)


@pytest.fixture
def embedded_log(tmp_path: Path) -> Log:
    return EmbeddedLog(tmp_path / "log.sqlite")


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def log(request: pytest.FixtureRequest) -> Log:
    """Each back end in turn."""
    found: Log = request.getfixturevalue(f"{request.param}_log")
    return found


@pytest.fixture
def topic_name(request: pytest.FixtureRequest) -> str:
    """A name that no other topic has. For several topics, add a suffix."""
    test = re.sub(r"[^a-zA-Z0-9]+", "-", request.node.name)[:80].strip("-")
    return f"{_RUN}-{next(_numbers)}-{test}"
