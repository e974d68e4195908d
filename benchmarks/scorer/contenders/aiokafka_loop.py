"""The loop that one writes with aiokafka, as somebody would who knows it well.

    python aiokafka_loop.py BOOTSTRAP_SERVERS IN_TOPIC OUT_TOPIC GROUP EVENTS MODEL send|batches

- All that has arrived is taken at once (`getmany`), and fetched ahead of being asked for.
- orjson reads and writes, compiled validators check what goes in and what comes out.
- Each record goes to the partition that it came from, which its key has chosen before: aiokafka
  would hash the key anew, in Python. Key, headers and timestamp are kept.
- *send*: each record is sent, and lingers to leave in large batches. *batches*: they are built here
  (`create_batch`), which spares a coroutine and a future for each record.
- Acknowledgements are gathered while the next batch is worked on; then offsets are committed: at
  least once.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from bench_models import MODELS
from jsonschema_rs import validator_for

_READ_MAX = 10_000  # records in one go

Answer = Callable[[Any], bytes]


def answer_of(name: str) -> Answer:
    """What a model says to a record, with all that is checked."""
    model = MODELS[name]()
    loads, dumps, predict = orjson.loads, orjson.dumps, model.predict
    is_input = validator_for(model.input_schema).is_valid
    is_output = validator_for(model.output_schema).is_valid

    def answer(message: Any) -> bytes:
        data = loads(message.value)
        if not is_input(data):
            raise SystemExit(f"aiokafka loop: an input is invalid: {message.value!r}")
        said = predict(data)
        if not is_output(said):
            raise SystemExit(f"aiokafka loop: an output is invalid: {said!r}")
        written: bytes = dumps(said)
        return written

    return answer


async def send(
    producer: Any, topic: str, place: Any, messages: Iterable[Any], answer: Answer
) -> Any:
    """One by one."""
    partition = place.partition
    return [
        await producer.send(
            topic,
            answer(message),
            key=message.key,
            partition=partition,
            timestamp_ms=message.timestamp,
            headers=list(message.headers),
        )
        for message in messages
    ]


async def send_batches(
    producer: Any, topic: str, place: Any, messages: Iterable[Any], answer: Answer
) -> list[Awaitable[Any]]:
    """In batches of one partition."""
    waiting = []
    batch = producer.create_batch()
    for message in messages:
        record = {
            "timestamp": message.timestamp,
            "key": message.key,
            "value": answer(message),
            "headers": list(message.headers),
        }
        if batch.append(**record) is None:  # it is full
            waiting.append(await producer.send_batch(batch, topic, partition=place.partition))
            batch = producer.create_batch()
            batch.append(**record)
    waiting.append(await producer.send_batch(batch, topic, partition=place.partition))
    return waiting


async def serve(
    servers: str, inputs: str, outputs: str, group: str, events: int, name: str, how: str
) -> None:
    answer = answer_of(name)
    put = send_batches if how == "batches" else send
    consumer = AIOKafkaConsumer(
        inputs,
        bootstrap_servers=servers,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=1 << 20,
        check_crcs=False,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=servers,
        enable_idempotence=True,
        linger_ms=20,
        max_batch_size=512 << 10,
    )
    await consumer.start()
    await producer.start()
    acknowledged: Awaitable[Any] | None = None
    reached: dict[Any, int] = {}
    done = 0
    while done < events or acknowledged is not None:
        fetched = await consumer.getmany(timeout_ms=100, max_records=_READ_MAX)
        waiting: list[Awaitable[Any]] = []
        ends = {}
        for place, messages in fetched.items():
            waiting += await put(producer, outputs, place, messages, answer)
            ends[place] = messages[-1].offset + 1
            done += len(messages)
        if acknowledged is not None:
            await acknowledged
            await consumer.commit(reached)
        acknowledged, reached = (asyncio.gather(*waiting), ends) if waiting else (None, {})
    await producer.stop()
    await consumer.stop()


if __name__ == "__main__":
    servers, inputs, outputs, group, events, name, how = sys.argv[1:]
    asyncio.run(serve(servers, inputs, outputs, group, int(events), name, how))
