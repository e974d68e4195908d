"""Put a simulated fleet on the topic `cars`, at a steady rate; what is ill goes to a file.

python send.py --vehicles 100000 --rounds 10 --rate 10000 --seed 1 --labels faults.csv
"""

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

import streamrec as sr
from fleet import FAULTS, NONE, ROUND_S, SLICE, Fleet, FleetOptions
from signals import CARS
from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Log
from streamrec.connectors.log_settings import LogSettings
from streamrec.connectors.making_topics import subject_of
from streamrec.schemas.columns import Columns
from streamrec.schemas.hashing import partitions
from streamrec.schemas.placing import keys_of
from streamrec.schemas.wire import WireEncoder

START_MS = 1_767_225_600_000  # event time of the first round
_FLUSH_S = 60.0


def encoded(options: FleetOptions, schema_id: int) -> Iterator[tuple[int, list[bytes]]]:
    """All readings, slice by slice: the number of the first car, and what each car says."""
    fleet, ids = Fleet(options), vehicle_ids(options.vehicles)
    encoder = WireEncoder(CARS.schema, schema_id)
    for number in range(options.rounds):
        for at, said in enumerate(fleet.drive()):
            first = at * SLICE
            n = len(said["firmware"])
            own = slice(first, first + n)
            # Within a round one slice is measured after the other.
            at_ms = START_MS + int(1_000 * ROUND_S * (number + first / options.vehicles))
            columns: Columns = {
                "vehicle_id": sr.Bytes(ids.data, ids.starts[own], ids.lengths[own]),
                "sent_at": sr.Numbers(np.full(n, at_ms)),
                **{name: sr.Numbers(values) for name, values in said.items()},
            }
            yield first, encoder.encode(columns).values


def send(log: Log, topic: str, options: FleetOptions) -> Iterator[int]:
    """Put all readings on the topic, which must be there; yields how many each time."""
    ids = vehicle_ids(options.vehicles)
    keys = keys_of(ids)
    with closing(log.admin()) as admin, closing(log.registry()) as registry:
        targets = partitions(ids, len(admin.bounds(topic)))
        schema_id = registry.find(subject_of(topic), CARS.schema).id
    with closing(log.writer()) as writer:
        for first, values in encoded(options, schema_id):
            of_slice = targets[first : first + len(values)]
            for partition in np.unique(of_slice).tolist():
                rows = np.flatnonzero(of_slice == partition).tolist()
                said = [values[row] for row in rows]
                writer.write_columns(topic, partition, [keys[first + row] for row in rows], said)
            writer.flush(_FLUSH_S)
            yield len(values)


def vehicle_ids(vehicles: int) -> sr.Bytes:
    return sr.strings([vehicle_id(number) for number in range(vehicles)])


def vehicle_id(number: int) -> str:
    return f"car-{number:06d}"


def write_labels(path: Path, options: FleetOptions) -> int:
    """Which cars fall ill, of what, and at which event time; returns how many."""
    faults = Fleet(options).faults
    ill = np.flatnonzero(faults.kinds != NONE)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["vehicle_id", "fault", "from_ms"])
        for number in ill.tolist():
            from_ms = START_MS + int(1_000 * ROUND_S * int(faults.first_rounds[number]))
            rows.writerow([vehicle_id(number), FAULTS[faults.kinds[number]], from_ms])
    return len(ill)


def main(arguments: list[str]) -> None:
    default = FleetOptions()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topic", default=CARS.name)
    parser.add_argument("--vehicles", type=int, default=default.vehicles)
    parser.add_argument("--rounds", type=int, default=default.rounds, help="readings of each car")
    parser.add_argument("--rate", type=float, default=0.0, help="readings a second; 0: all at once")
    parser.add_argument("--fault-share", type=float, default=default.fault_share)
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--labels", type=Path, default=Path("faults.csv"))
    given = parser.parse_args(arguments)
    options = FleetOptions(given.seed, given.vehicles, given.rounds, given.fault_share)
    ill = write_labels(given.labels, options)
    log = open_log(LogSettings())
    began, sent, late_s = time.monotonic(), 0, 0.0
    for count in send(log, given.topic, options):
        sent += count
        if given.rate:
            ahead_s = began + sent / given.rate - time.monotonic()
            late_s = max(late_s, -ahead_s)
            time.sleep(max(0.0, ahead_s))
    took_s = time.monotonic() - began
    print(
        f"sent {sent:,} readings of {options.vehicles:,} cars to {given.topic!r} in {took_s:.1f} s "
        f"({sent / took_s:,.0f} a second, never more than {late_s:.2f} s late); {ill:,} cars fall "
        f"ill: {given.labels}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
