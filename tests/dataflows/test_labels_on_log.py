"""Labels on a real log: as a plain program says, over kills and other numbers of processes."""

from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.place import PARTITIONS, embedded_place
from tests.proofs import chaos
from tests.proofs.chaos_labels import MODULE, LabelTopics, judge_labels
from tests.proofs.chaos_run import run_to_the_end
from tests.proofs.labels_feed import RECOMMENDED, ROWS, outgoing, placed

SEED = 7
ANSWERS = 400

pytestmark = pytest.mark.timeout(400)


def test_examples_are_those_of_a_plain_program(tmp_path: Path) -> None:
    place = embedded_place(tmp_path, lambda text: None)
    topics = LabelTopics.make(place)
    ids = {n: place.schema_id(topics.names[n]) for n in range(RECOMMENDED, len(ROWS))}
    records = placed(SEED, ANSWERS, topics.names, PARTITIONS)
    with closing(place.log.writer()) as writer:
        for number, message in outgoing(records, ids):
            writer.write(topics.names[number], [message])
        writer.flush(30.0)

    environment = place.process_environment(
        **topics.settings(), consumer_group="once", follow="false"
    )
    run_to_the_end(MODULE, environment, place.folder / "once.log")
    found = judge_labels(place, topics, records, committed_only=False)
    assert found.verdict.good, "\n".join(found.verdict.offenders)
    assert found.verdict.outputs > ANSWERS
    assert {"too_late", "repeated", "recommendation None "} <= set(found.kinds)


@pytest.mark.slow
def test_killed_and_rescaled_it_loses_repeats_and_changes_nothing(tmp_path: Path) -> None:
    options = ["--kills=3", "--events=3000", "--flow=labels", f"--seed={SEED}"]

    assert chaos.main(["--backend=embedded", f"--folder={tmp_path}", *options]) == 0
