"""Kafka's faults, for real: the broker hangs, is killed, refuses; secrets stay secret."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streamrec.connectors.backend import open_log
from streamrec.connectors.kafka.log import KafkaLog
from streamrec.connectors.local.kafka import LocalKafka, local_kafka
from streamrec.connectors.log import Log, LogError, Outgoing, UnreachableError, WriteError
from streamrec.connectors.log_settings import LogSettings
from streamrec.connectors.patience import Patience
from tests.conftest import KafkaPair
from tests.connectors.log_reading import create, read, read_from, write

pytestmark = pytest.mark.kafka

_SECRET = "Geheim-7d1c"


@pytest.fixture(scope="module")
def own_broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalKafka]:
    """A broker of these tests' own, since they stop it."""
    if request.config.getoption("--kafka") != "local":
        pytest.skip("needs a broker that may be stopped, and --kafka is not 'local'")
    with local_kafka(tmp_path_factory.mktemp("own-kafka"), with_registry=False) as kafka:
        yield kafka


def log_of(broker: LocalKafka, tmp_path: Path, **options: str) -> Log:
    return open_log(
        LogSettings(
            kafka_bootstrap_servers=broker.bootstrap_servers,
            kafka_options={name.replace("_", "."): value for name, value in options.items()},
            embedded_log_path=tmp_path / "log.sqlite",
        )
    )


def test_a_broker_that_hangs_is_waited_for(
    own_broker: LocalKafka, tmp_path: Path, topic_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = log_of(own_broker, tmp_path, socket_timeout_ms="2000")
    create(log, topic_name)
    with closing(log.reader()) as reader, closing(log.writer()) as writer:
        reader.assign(topic_name, {0: 0})
        writer.write(topic_name, [Outgoing(None, b"before")])
        writer.flush(20)
        assert len(read(reader, 1)) == 1
        own_broker.pause_broker()
        try:
            writer.write_columns(topic_name, 0, [None] * 100, [b"%d" % i for i in range(100)])
            with pytest.raises(WriteError, match="expected acknowledgement within 1"):
                writer.flush(1)
            assert reader.poll(10, 0.5) == []
        finally:
            own_broker.resume_broker()
        writer.flush(30)
        assert [r.value for r in read(reader, 100)] == [b"%d" % i for i in range(100)]


def test_offsets_of_a_group_that_cannot_be_had_are_waited_for_as_long_as_asked(
    own_broker: LocalKafka, tmp_path: Path, topic_name: str
) -> None:
    """The patience of a running job is without end."""
    settings = LogSettings(kafka_bootstrap_servers=own_broker.bootstrap_servers)
    log = open_log(settings, Patience(None))
    create(log, topic_name)
    with closing(log.admin()) as admin:
        assert admin.committed(topic_name, topic_name, 20.0) == {}
        own_broker.pause_broker()
        try:
            began_s = time.monotonic()
            with pytest.raises(UnreachableError):
                admin.committed(topic_name, topic_name, 1.0)
            assert time.monotonic() - began_s < 5
        finally:
            own_broker.resume_broker()
        assert admin.committed(topic_name, topic_name, 20.0) == {}


def test_a_broker_killed_and_started_again_loses_and_repeats_nothing(
    own_broker: LocalKafka, tmp_path: Path, topic_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = log_of(own_broker, tmp_path)
    create(log, topic_name)
    group = f"{topic_name}-group"
    caplog.set_level(logging.INFO, "streamrec.connectors.kafka")
    with closing(log.reader()) as reader, closing(log.writer()) as writer:
        reader.assign(topic_name, {0: 0})
        writer.write_columns(topic_name, 0, [None] * 500, [b"%d" % i for i in range(500)])
        own_broker.kill_broker()
        restart = threading.Timer(2, own_broker.start_broker)
        restart.start()
        writer.write_columns(topic_name, 0, [None] * 500, [b"%d" % i for i in range(500, 1_000)])
        assert reader.poll(10, 0.2) == []
        reader.commit(group, topic_name, {0: 1})  # logged, not raised
        restart.join()
        writer.flush(60)
        assert [r.value for r in read(reader, 1_000)] == [b"%d" % i for i in range(1_000)]
        reader.commit(group, topic_name, {0: 1_000})
    with closing(log.admin()) as admin:
        assert admin.committed(group, topic_name) == {0: 1_000}
    waits = [r for r in caplog.records if "unreachable, waiting" in r.getMessage()]
    assert len(waits) == 1  # however many clients there are, and however often each tries


def test_nothing_is_taken_as_written_after_a_failed_delivery(
    kafka_log: Log, topic_name: str
) -> None:
    # Each fits by itself, but batched they exceed what the topic takes: the broker refuses them.
    create(kafka_log, topic_name, max_message_bytes="50000")
    writer = kafka_log.writer()
    writer.write_columns(topic_name, 0, [None] * 100, [bytes(20_000)] * 100)
    with pytest.raises(WriteError, match="KAFKA_OPTION_BATCH_SIZE"):
        writer.flush(20)
    with pytest.raises(WriteError, match="KAFKA_OPTION_BATCH_SIZE"):
        writer.write(topic_name, [Outgoing(None, b"more")])
    with pytest.raises(WriteError, match="KAFKA_OPTION_BATCH_SIZE"):
        writer.close()


def test_a_full_queue_is_waited_for_and_keeps_the_order(
    kafka_settings: LogSettings, topic_name: str
) -> None:
    options = {"queue.buffering.max.messages": "50", "linger.ms": "1"}
    log = open_log(kafka_settings.model_copy(update={"kafka_options": _as_secrets(options)}))
    create(log, topic_name)
    with closing(log.writer()) as writer:
        for start in (0, 1_000):
            numbers = range(start, start + 1_000)
            writer.write_columns(topic_name, 0, [b"k"] * 1_000, [b"%d" % i for i in numbers])
        writer.write(topic_name, [Outgoing(b"k", b"%d" % i) for i in range(2_000, 2_500)])
        writer.flush(30)
    records = read_from(log, topic_name, {0: 0}, 2_500)
    assert [r.value for r in records] == [b"%d" % i for i in range(2_500)]


def _as_secrets(options: dict[str, str]) -> object:
    return LogSettings(kafka_bootstrap_servers="x:1", kafka_options=options).kafka_options


def test_a_wrong_option_is_named_before_anything_connects() -> None:
    for options, named in (
        ({"linger.millis": "5"}, r"linger\.millis"),
        ({"compression.type": "banana"}, r"compression"),
    ):
        settings = LogSettings(kafka_bootstrap_servers="192.0.2.1:9", kafka_options=options)
        start = time.monotonic()
        with pytest.raises(LogError, match=named):
            open_log(settings)
        assert time.monotonic() - start < 2


def test_secrets_are_in_no_message_and_no_representation(
    kafka_pair: KafkaPair, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    options = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "someone",
        "sasl.password": _SECRET,
    }
    settings = LogSettings(
        kafka_bootstrap_servers=kafka_pair.bootstrap_servers,
        kafka_options=options,
        schema_registry_user_info=f"someone:{_SECRET}",
        embedded_log_path=tmp_path / "log.sqlite",
    )
    log = open_log(settings)
    assert isinstance(log, KafkaLog)
    shown = [
        repr(settings),
        str(settings),
        repr(log),
        log.describe_target(),
        settings.model_dump_json(),
    ]
    wrong = settings.model_copy(
        update={"kafka_options": _as_secrets({**options, "ssl.key.pem": _SECRET, "nosuch": "1"})}
    )
    with pytest.raises(LogError) as caught:
        open_log(wrong)
    shown += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
    shown += [record.getMessage() for record in caplog.records]
    assert not [text for text in shown if _SECRET in text]


def test_a_broker_that_never_answers_is_an_error_in_bounded_time() -> None:
    settings = LogSettings(kafka_bootstrap_servers="127.0.0.1:9", kafka_options={})
    log = open_log(settings, Patience(3.0))
    start = time.monotonic()
    with (
        closing(log.admin()) as admin,
        pytest.raises(UnreachableError, match=r"Connection refused.*check KAFKA_BOOTSTRAP_SERVERS"),
    ):
        admin.topics()
    assert time.monotonic() - start < 10


def test_transaction_markers_leave_gaps_in_offsets_and_nothing_is_missed(
    kafka_pair: KafkaPair, kafka_log: Log, topic_name: str
) -> None:
    from confluent_kafka import Producer

    create(kafka_log, topic_name)
    producer = Producer(
        {"bootstrap.servers": kafka_pair.bootstrap_servers, "transactional.id": topic_name}
    )
    producer.init_transactions(30)
    for part in range(3):
        producer.begin_transaction()
        for number in range(10):
            producer.produce(topic_name, b"%d" % (part * 10 + number), partition=0)
        producer.commit_transaction(30)
    producer.close()
    records = read_from(kafka_log, topic_name, {0: 0}, 30, max_messages=1_000)
    assert [r.value for r in records] == [b"%d" % i for i in range(30)]
    assert [r.offset for r in records] == [i + i // 10 for i in range(30)]


def test_asking_for_a_topic_does_not_make_it(kafka_log: Log, topic_name: str) -> None:
    for attempt in range(2):
        with pytest.raises(LogError):
            write(kafka_log, topic_name, [Outgoing(None, b"%d" % attempt)])
        with pytest.raises(LogError):
            read_from(kafka_log, topic_name, {0: 0}, 1)
    with closing(kafka_log.admin()) as admin:
        assert topic_name not in admin.topics()
