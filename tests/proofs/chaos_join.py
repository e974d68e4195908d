"""The proof of the join: every output against those of a plain program that sees all inputs."""

from collections import Counter
from contextlib import ExitStack
from typing import NamedTuple

from benchmarks.join.flow import OFFERS, OUTCOMES, PURCHASES
from benchmarks.place import Place
from streamrec.dataflows.job.topics import ERRORS, TICKS, Topic
from tests.proofs.chaos_check import ChaosVerdict, compare, decoder, read_topic
from tests.proofs.join_plain import Decode, Input, errors_of, outcomes_of, plain_join, ticks_of

MODULE = "benchmarks.join.flow"
TICK_S = 0.2
TICK_MESSAGES = 2_000  # so that what gathers during a start is more than one tick takes


class JoinTopics(NamedTuple):
    """Topics of one run."""

    offers: str
    purchases: str
    ticks: str
    outcomes: str
    errors: str

    @classmethod
    def make(cls, place: Place) -> "JoinTopics":
        rows = (OFFERS, PURCHASES, TICKS, OUTCOMES, ERRORS)
        return cls(
            *(
                place.make_topic(row.name, partitions=row.partitions, schema=row.schema)
                for row in rows
            )
        )

    @property
    def inputs(self) -> tuple[str, str]:
        return self.offers, self.purchases

    def settings(self) -> dict[str, str]:
        names = {f"{name}_topic": topic for name, topic in self._asdict().items()}
        return {**names, "tick_s": str(TICK_S), "tick_messages": str(TICK_MESSAGES)}


class JoinVerdict(NamedTuple):
    """What came of the inputs, and how many outputs and errors of each kind there had to be."""

    verdict: ChaosVerdict
    kinds: Counter[str]


def judge_join(place: Place, topics: JoinTopics, committed_only: bool) -> JoinVerdict:
    """Everything that came out, against what must."""
    with ExitStack() as stack:

        def reads(topic: str, row: Topic) -> Decode:
            return stack.enter_context(decoder(place, topic, row.schema))

        inputs = [
            Input(
                topic,
                f"decode {row.name}",
                list(read_topic(place, topic, committed_only=False)),
                reads(topic, row),
            )
            for topic, row in zip(topics.inputs, (OFFERS, PURCHASES), strict=True)
        ]
        ticks = read_topic(place, topics.ticks, committed_only=False)
        wanted = plain_join(inputs, ticks_of(ticks, reads(topics.ticks, TICKS)))
        verdict = ChaosVerdict(sum(len(each.messages) for each in inputs), 0, 0)
        outcomes = read_topic(place, topics.outcomes, committed_only)
        errors = read_topic(place, topics.errors, committed_only)
        verdict.outputs = compare(
            verdict, wanted.outcomes, outcomes_of(outcomes, reads(topics.outcomes, OUTCOMES))
        )
        verdict.errors = compare(
            verdict, wanted.errors, errors_of(errors, reads(topics.errors, ERRORS))
        )
    return JoinVerdict(verdict, wanted.kinds)
