"""Writes Kafka in transactions.

A writer's name is its `transactional.id`. Opening one waits until the broker has ended what an
earlier writer of the name left open and has shut that one out: from then on nothing of it can
become visible. One transaction is open at a time, from the first write after a commit.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from confluent_kafka import KafkaException
from numpy.typing import NDArray
from typing_extensions import override

from streamrec.connectors.kafka.client import (
    FIRST_REQUEST_S,
    REQUEST_S,
    RETRY_S,
    error_of,
    explained,
)
from streamrec.connectors.kafka.writer import KafkaWriter, as_write_error
from streamrec.connectors.log import Headers, Outgoing
from streamrec.connectors.patience import Patience, Wait


class KafkaTransactionalWriter(KafkaWriter):
    """A TransactionalWriter. Opening it takes some 50 ms, and waits for a broker that is away."""

    def __init__(
        self,
        where: str,
        options: Mapping[str, Any],
        patience: Patience,
        name: str,
        timeout_s: float,
    ) -> None:
        super().__init__(
            where,
            {
                **options,
                "transactional.id": name,
                "transaction.timeout.ms": int(timeout_s * 1_000),
            },
            patience,
        )
        self._name = name
        self._is_open = False
        self._asked("transactions", patience.wait(), self._producer.init_transactions)

    @override
    def write(self, topic: str, messages: Iterable[Outgoing]) -> None:
        self._begin()
        super().write(topic, messages)

    @override
    def write_columns(
        self,
        topic: str,
        partition: int,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        headers: Sequence[Headers] | None = None,
        times_ms: NDArray[np.int64] | None = None,
    ) -> None:
        self._begin()
        super().write_columns(topic, partition, keys, values, headers, times_ms)

    def commit(self, timeout_s: float) -> None:
        if not self._is_open:
            return
        self.flush(timeout_s)
        self._asked("commit", Patience(timeout_s).wait(), self._producer.commit_transaction)
        self._is_open = False

    @override
    def close(self) -> None:
        """Release. A transaction that is open, after a crash, is left to the next writer of the
        name, or to its timeout: to end those of all lanes one after the other, while the machine
        is busy with that crash, kept a process alive for more than 15 s."""
        if self._closed:
            return
        self._closed = True
        self._producer.purge()
        if not self._is_open:
            self._producer.close()
        self._admin.close()

    def _begin(self) -> None:
        if not self._is_open:
            self._asked("begin", Patience(0.0).wait(), lambda _: self._producer.begin_transaction())
            self._is_open = True

    def _asked(self, what: str, wait: Wait, ask: Callable[[float], Any]) -> None:
        """Ask, and again while librdkafka says that it may help."""
        while True:
            try:
                ask(max(1.0, min(wait.left_s(), REQUEST_S)))
            except KafkaException as exception:
                error = error_of(exception)
                self._raise_failure()
                if not error.retriable() or not wait.again(RETRY_S):
                    where = f"{self._where}: transactions of {self._name!r}: {what}"
                    raise as_write_error(explained(where, error)) from exception
                if wait.waited_s() >= FIRST_REQUEST_S:
                    self._faults.tell(error)
            else:
                return
