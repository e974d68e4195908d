"""CPU per record of writing and reading a log, by batch size: the embedded log, and Kafka.

    python -m benchmarks.log [--kafka HOST:PORT]

CPU is that of the whole process, the client's own threads included, in microseconds per record of
a 100-byte value and an 11-byte key, and the median of several rounds. Without `--kafka` only the
embedded log is measured.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Log, TopicSpec
from streamrec.connectors.log_settings import LogSettings

BATCHES = (10, 100, 1_000)
_ROUNDS = 3
_PARTITIONS = 8


def measure(bootstrap_servers: str | None = None, records: int = 100_000) -> dict[str, float]:
    """Microseconds of CPU per record, named like `embedded_write_us_1000`."""
    with tempfile.TemporaryDirectory() as folder:
        embedded = LogSettings(
            kafka_bootstrap_servers=None,
            kafka_options={},
            embedded_log_path=Path(folder) / "log.sqlite",
            schema_registry_url=None,
        )
        figures = _measure_log("embedded", open_log(embedded), records)
        if bootstrap_servers is not None:
            kafka = embedded.model_copy(update={"kafka_bootstrap_servers": bootstrap_servers})
            figures |= _measure_log("kafka", open_log(kafka), records)
    return figures


def _measure_log(name: str, log: Log, records: int) -> dict[str, float]:
    figures = {}
    for batch in BATCHES:
        count = records if batch > 10 else records // 5
        rounds = [_round(log, count, batch, number) for number in range(_ROUNDS)]
        for what, values in zip(("write", "read"), zip(*rounds, strict=True), strict=True):
            figures[f"{name}_{what}_us_{batch}"] = round(statistics.median(values), 3)
    return figures


def _round(log: Log, records: int, batch: int, number: int) -> tuple[float, float]:
    topic = f"bench-{time.time_ns()}-{batch}-{number}"
    with closing(log.admin()) as admin:
        admin.create(TopicSpec(topic, _PARTITIONS))
        try:
            return _write(log, topic, records, batch), _read(log, topic, records, batch)
        finally:
            admin.delete(topic)


def _write(log: Log, topic: str, records: int, batch: int) -> float:
    keys = [b"user-%06d" % number for number in range(batch)]
    values = [b"%0100d" % number for number in range(batch)]
    with closing(log.writer()) as writer:
        writer.write_columns(topic, 0, [], [])  # connects
        start_s = time.process_time()
        for number in range(records // batch):
            writer.write_columns(topic, number % _PARTITIONS, keys, values)
        writer.flush(60)
        return (time.process_time() - start_s) / records * 1e6


def _read(log: Log, topic: str, records: int, batch: int) -> float:
    with closing(log.reader()) as reader:
        reader.assign(topic, dict.fromkeys(range(_PARTITIONS), 0))
        start_s = time.process_time()
        left = records
        while left > 0:
            left -= sum(map(len, reader.poll(batch, 1.0)))
        return (time.process_time() - start_s) / records * 1e6


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kafka", metavar="HOST:PORT")
    sys.stdout.write(json.dumps(measure(parser.parse_args().kafka), indent=2) + "\n")


if __name__ == "__main__":
    _main()
