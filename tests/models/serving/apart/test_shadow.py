"""A shadow may lag and be left out; it holds up nobody."""

import os
import sys
import time
from pathlib import Path
from typing import Any

from streamrec.models.serving.apart.settings import Limits
from streamrec.models.serving.apart.shadow import Shadow, shadow_predictor
from tests.models.serving.apart.apart import does, plan


def test_what_is_too_much_for_a_shadow_is_dropped_and_counted() -> None:
    predictor = shadow_predictor(plan(), Limits(), "obedient")
    try:
        predictor.wait_until_warm()
        shadow = Shadow(predictor, most_in_flight=3, late_s=0.2)
        slow = [{"do": "sleep", "s": 0.3, "n": 0}]
        assert shadow.offer(slow, tag="first")
        assert shadow.offer(does("ok", "ok"))
        began_s = time.monotonic()
        assert not shadow.offer(does("ok"))
        assert time.monotonic() - began_s < 0.1
        finished: list[Any] = []
        give_up_s = time.monotonic() + 20
        while len(finished) < 2 and time.monotonic() < give_up_s:
            finished += shadow.poll()
            time.sleep(0.01)
        assert [ticket.tag for ticket, _ in finished] == ["first", None]
        assert (shadow.counts.answered, shadow.counts.dropped, shadow.counts.late) == (3, 1, 3)
        assert shadow.offer(does("ok"))
    finally:
        predictor.close()


def test_a_shadow_gives_way_to_all_others() -> None:
    predictor = shadow_predictor(plan(), Limits(), "obedient")
    try:
        predictor.wait_until_warm()
        stat = Path(f"/proc/{predictor.pid}/stat").read_text().rpartition(")")[2].split()
        assert int(stat[16]) == 19  # niceness
        if sys.platform == "linux" and predictor.pid is not None:
            assert os.sched_getscheduler(predictor.pid) == os.SCHED_IDLE
    finally:
        predictor.close()
