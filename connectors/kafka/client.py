"""What every Kafka client of ours shares: options, and what its errors mean.

librdkafka mends most faults by itself and tells of them as it goes. `Faults` sorts what it tells:
a broker that cannot be reached is logged once and waited for, what only a person can mend is kept
for the next call to raise.
"""

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer

from streamrec.connectors.log import (
    FencedError,
    LogError,
    OffsetOutOfRangeError,
    UnknownTopicError,
    UnreachableError,
)
from streamrec.connectors.patience import is_time_to_tell

if TYPE_CHECKING:
    KafkaMessage = Message[Any, Any]
else:
    KafkaMessage = Message  # generic in its stub only

logger = logging.getLogger("streamrec.connectors.kafka")

REQUEST_S = 10.0  # the longest that a question to the broker may take; it is asked again
FIRST_REQUEST_S = 2.0  # and the first time, so that what is wrong is known soon
RETRY_S = 0.1

_SECRET_NAMES = re.compile("password|secret|token|key|username|jaas|oauthbearer.config|certificate")

_PASSING = {
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._FAIL,
    KafkaError._MAX_POLL_EXCEEDED,
    KafkaError._NOENT,  # "no leaders found", for seconds after a broker has come back
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._TRANSPORT,
    KafkaError._WAIT_COORD,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_CONTROLLER,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.REQUEST_TIMED_OUT,
    # A reader joins no group, so a right to the group that it has to name is not needed.
    KafkaError.GROUP_AUTHORIZATION_FAILED,
}
_UNKNOWN_TOPIC = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNKNOWN_TOPIC_ID,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
}
_DENIED = {
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
}

_FENCED = {
    KafkaError._FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
}


def is_passing(error: KafkaError) -> bool:
    return error.code() in _PASSING


def is_unknown_topic(error: KafkaError) -> bool:
    return error.code() in _UNKNOWN_TOPIC


def error_of(exception: KafkaException) -> KafkaError:
    error: KafkaError = exception.args[0]
    return error


def explained(where: str, error: KafkaError, cause: str | None = None) -> LogError:
    """An error of librdkafka as one of ours, with what to try. `cause` says more than it."""
    said = f"{where}: kafka said {cause or error.str()!r} ({error.name()})"
    if is_unknown_topic(error):
        return UnknownTopicError(f"{said}; create the topic with `topics create`")
    if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
        return OffsetOutOfRangeError(
            f"{said}; retention has removed the offset, or it was never written: "
            "start again to be told what is gone and how to go on"
        )
    if error.code() in _DENIED:
        return LogError(
            f"{said}; check KAFKA_OPTION_SECURITY_PROTOCOL and the like, and the user's rights"
        )
    if error.code() in _FENCED:
        return FencedError(
            f"{said}; another instance of this dataflow has taken over and this one must end; if "
            "that is a mistake, give each its own STREAMREC_CONSUMER_GROUP"
        )
    if is_passing(error):
        return UnreachableError(f"{said}; {_advice(said)}")
    return LogError(f"{said}; look up the name among librdkafka's error codes")


# Of librdkafka's words for a listener that speaks another protocol: it has not always the same.
_HINTS = ("security.protocol", "listener", "APIVERSION_QUERY", "SSL_HANDSHAKE")


def _advice(said: str) -> str:
    checks = "check KAFKA_BOOTSTRAP_SERVERS and that the broker runs"
    if any(hint in said for hint in _HINTS):
        return f"{checks}, and KAFKA_OPTION_SECURITY_PROTOCOL"
    return checks


class _WithoutNoise(logging.Filter):
    """Options pass to consumers and producers alike: that one ignores the other's is no news. Nor
    is each failed attempt to connect, of which `Faults` tells once; debugging shows them."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if text.startswith("FAIL ") or "brokers are down" in text:
            return logger.isEnabledFor(logging.DEBUG)
        return "will be ignored by this" not in text


client_logger = logging.getLogger("streamrec.connectors.kafka.librdkafka")
client_logger.addFilter(_WithoutNoise())
_silent = logging.getLogger("streamrec.connectors.kafka.options")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


# When each cluster was last said to be unreachable. A process has several clients of one, and each
# finds out by itself, some only when the cluster is back: shared, so that this is logged once.
_unreachable: set[str] = set()


class Faults:
    """Collects what librdkafka reports outside of any call, for one client."""

    def __init__(self, where: str) -> None:
        self._where = where
        self.failure: LogError | None = None  # what only a person can mend
        self.topic_doubted: KafkaError | None = None  # a topic or partition seems to be gone
        self._down = False
        self.cause: str | None = None  # why the broker is not reached, as far as is known

    def report(self, error: KafkaError) -> None:
        """For `error_cb`, which librdkafka calls from within poll, consume and flush."""
        if error.code() in _DENIED or error.fatal():
            self.failure = self.failure or explained(self._where, error)
        elif is_unknown_topic(error):
            self.topic_doubted = error
        else:
            if error.code() != KafkaError._ALL_BROKERS_DOWN:
                self.cause = error.str()
            elif self.cause is None and not self._down:  # it says nothing of why: wait for that
                self._down = True
                return
            self.tell(error)

    def log(self, level: int, form: str, *args: object) -> None:
        """For `logger`: only here librdkafka says what it makes of a connection that was cut, as
        that another protocol may be spoken there."""
        if args and args[0] == "FAIL":
            self.cause = str(args[-1]).rpartition("]: ")[2]
        client_logger.log(level, form, *args)

    def tell(self, error: KafkaError) -> None:
        """Say that the broker is waited for, and why, unless that was said just now."""
        _unreachable.add(self._where)
        if is_time_to_tell(f"{self._where} unreachable"):
            cause = self.cause or error.str()
            logger.warning("%s: unreachable, waiting: %s; %s", self._where, cause, _advice(cause))

    def reached(self) -> None:
        """The broker has answered."""
        self.cause, self._down = None, False
        if self._where in _unreachable:
            _unreachable.discard(self._where)
            logger.info("%s: reached again", self._where)


def checked_options(where: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, after librdkafka has accepted each name and value. Connects to nothing.

    Raises LogError that names the option and holds no secret.
    """
    offline = {name: value for name, value in options.items() if name != "bootstrap.servers"}
    try:
        Consumer({"group.id": "streamrec", **offline}, logger=_silent).close()
        Producer(offline, logger=_silent).close()
    except KafkaException as exception:
        # Not chained: the original may carry a secret into the traceback.
        raise LogError(
            f"{where}: expected options that librdkafka knows, got "
            f"{without_secrets(error_of(exception).str(), options)!r}; options are passed as "
            "KAFKA_OPTION_..., one underscore for each dot of their names"
        ) from None
    return dict(options)


def without_secrets(text: str, options: Mapping[str, Any]) -> str:
    """The text with the values of secret options masked."""
    for name, value in options.items():
        if value and _SECRET_NAMES.search(name):
            text = text.replace(str(value), "***")
    return text
