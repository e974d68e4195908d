"""The same with Quix Streams.

    python quix_app.py BOOTSTRAP_SERVERS IN_TOPIC OUT_TOPIC GROUP EVENTS MODEL plain|tuned

*plain*: its own JSON, and everything at its defaults: offsets are committed every 5 s (its
checkpoints), at least once. *tuned*: values pass as bytes that orjson reads and writes, as its own
does with more layers, and the producer has the options below. Headers and keys are kept by Quix.
"""

import logging
import sys
from typing import Any

import orjson
from bench_models import MODELS
from jsonschema_rs import validator_for
from quixstreams import Application

# Larger batches leave less often. What a consumer fetches ahead stays as it is: it is full all the
# time, and asking for more at shorter intervals (fetch.queue.backoff.ms) made it no quicker.
_PRODUCER = {
    "linger.ms": 20,
    "batch.size": 262_144,
    "queue.buffering.max.messages": 500_000,
}


def main(
    servers: str, inputs: str, outputs: str, group: str, events: int, name: str, how: str
) -> None:
    model = MODELS[name]()
    predict = model.predict
    is_input = validator_for(model.input_schema).is_valid
    is_output = validator_for(model.output_schema).is_valid
    is_tuned = how == "tuned"

    def answer(data: Any) -> Any:
        if not is_input(data):
            raise SystemExit(f"quix: an input is invalid: {data!r}")
        said = predict(data)
        if not is_output(said):
            raise SystemExit(f"quix: an output is invalid: {said!r}")
        return said

    def answer_bytes(value: bytes) -> bytes:
        said: bytes = orjson.dumps(answer(orjson.loads(value)))
        return said

    app = Application(
        broker_address=servers,
        consumer_group=group,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        loglevel=logging.WARNING,
        producer_extra_config=_PRODUCER if is_tuned else {},
    )
    kind = "bytes" if is_tuned else "json"
    source = app.topic(inputs, value_deserializer=kind)
    target = app.topic(outputs, value_serializer=kind)
    app.dataframe(source).apply(answer_bytes if is_tuned else answer).to_topic(target)
    app.run(count=events)


if __name__ == "__main__":
    servers, inputs, outputs, group, events, name, how = sys.argv[1:]
    main(servers, inputs, outputs, group, int(events), name, how)
