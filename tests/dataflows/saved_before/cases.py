"""What is kept here, and how it is run and read: for `make` and `test_saved_before`.

An archive holds `recovery/`, the recovery directory of a dataflow that was killed, state and all;
`log.sqlite`, the embedded log; and `expected.json`, what must come of each click in the end, as a
run had it that was never killed. Where the log is Kafka, `log.sqlite` holds the schemas alone, and
`topics.jsonl` the records (`kafka_topics`).
"""

import io
import json
import pickle
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro

from streamrec.connectors.log import Log
from streamrec.connectors.reading import read_all

GROUP = "saved-before"
TOPICS = ("clicks", "recommendations", "errors", "sessions", "scores")
_HISTORY_S = 10**9  # 30 years: however old an archive is, its sessions are learned again

Outcome = dict[str, Any]  # fields of an answer or an error


@dataclass(frozen=True, slots=True)
class Case:
    """One archive and the run that left it."""

    name: str
    flow: str  # module
    answers: str  # topic
    model: str = "artifact"
    delivery: str = "read_back"

    @property
    def archive(self) -> Path:
        return Path(__file__).with_name(f"{self.name}.tar.xz")

    @property
    def is_on_kafka(self) -> bool:
        return self.delivery == "transactions"

    def variables(self, folder: Path) -> dict[str, str]:
        """The environment of its processes, but for where Kafka is."""
        return {
            "EMBEDDED_LOG_PATH": str(folder / "log.sqlite"),
            "STREAMREC_CONSUMER_GROUP": GROUP,
            "STREAMREC_DELIVERY": self.delivery,
            "STREAMREC_MODEL": self.model,
            "STREAMREC_SESSION_HISTORY_S": str(_HISTORY_S),
            **{f"STREAMREC_{name.upper()}_TOPIC": topic(name) for name in TOPICS},
        }

    def asks(self, event_type: str) -> bool:
        """Whether a click is answered: scoring answers all."""
        return self.answers == "scores" or event_type == "view"

    def command(self, folder: Path) -> list[str]:
        flags = ["-r", str(folder / "recovery"), "-s", "2", "-b", "0"]
        return [sys.executable, "-m", "bytewax.run", self.flow, *flags]

    def saved_ends(self, folder: Path, name: str) -> dict[int, int]:
        """By partition, how far a source or a sink had come."""
        step = f"{self.flow.rpartition('.')[2]}.{name}"
        lanes = Saved.of(folder / "recovery").of_step(step).values()
        return {partition: end for lane in lanes for partition, end in lane.items()}


_MAIN_JOB = ("dataflows.recommender", "recommendations")
CASES = (
    Case("recommender-artifact-read-back", *_MAIN_JOB),
    Case("recommender-river-read-back", *_MAIN_JOB, model="river"),
    Case("scoring-read-back", "dataflows.scoring", "scores"),
    Case("recommender-artifact-transactions", *_MAIN_JOB, delivery="transactions"),
)


def topic(name: str) -> str:
    """Records name the topic of their click, so that these names are for good."""
    return f"saved-before-{name}"


def outcomes(log: Log, name: str) -> Iterator[tuple[str, Outcome]]:
    """Of each record of a topic the place of the click, and what is the same in every run."""
    kept = ("user_id", "item_id", "requested_at", "scored_at", "features", "reason")
    with closing(log.registry()) as registry:
        for record in read_all(log, topic(name)):
            assert record.value is not None
            schema = json.loads(registry.by_id(int.from_bytes(record.value[1:5], "big")))
            fields = fastavro.schemaless_reader(io.BytesIO(record.value[5:]), schema, None)
            assert isinstance(fields, dict)
            prefix = "" if name == "errors" else "source_"
            place = f"{fields[f'{prefix}partition']}/{fields[f'{prefix}offset']}"
            outcome = {field: fields[field] for field in kept if field in fields}
            yield place, json.loads(json.dumps(outcome, default=str))


@dataclass(frozen=True, slots=True)
class Saved:
    """What the engine's own store holds of a dataflow of one worker."""

    began: int  # epoch with which its last run began
    next: int  # epoch with which a run would go on
    states: dict[tuple[str, str], Any]  # by step and key, as of then

    @classmethod
    def of(cls, recovery: Path) -> "Saved":
        runs, ends, snapshots = (
            list(_rows(recovery, f"SELECT {columns} ORDER BY 1"))
            for columns in (
                "ex_num, resume_epoch FROM exs",
                "worker_frontier FROM fronts",
                "snap_epoch, step_id, state_key, ser_change FROM snaps",
            )
        )
        began = max(runs, default=(0, 1))[1]
        following = max([(began,), *ends])[0]
        return cls(
            began,
            following,
            {
                (step, key): None if state is None else pickle.loads(state)
                for epoch, step, key, state in sorted(snapshots, key=lambda row: row[0])
                if epoch < following
            },
        )

    def steps(self) -> set[str]:
        return {step for step, _ in self.states}

    def of_step(self, step: str) -> dict[str, Any]:
        return {key: state for (found, key), state in self.states.items() if found == step}


def _rows(recovery: Path, query: str) -> Iterator[tuple[Any, ...]]:
    for part in sorted(recovery.glob("part-*.sqlite3")):
        with closing(sqlite3.connect(part)) as db:
            yield from db.execute(query)
