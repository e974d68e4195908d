"""How a model's process starts, fails to, and starts again."""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from streamrec.models.loading import BadModel
from streamrec.models.serving.apart.settings import Limits
from streamrec.models.serving.contract import Fault
from tests.models.serving.apart.apart import FOLDER, apart, does, told, until


@pytest.mark.parametrize(
    ("make", "message"),
    [
        ("refuses", "KeyError('no parameters here') at "),
        ("dies_early", "got its end with status 7; it printed 'about to load'"),
        ("prints_and_exits", "SystemExit('no licence') at "),
        ("nothing", "has no attribute 'nothing'"),
    ],
)
def test_a_model_that_cannot_be_had_is_one_line_at_the_start(make: str, message: str) -> None:
    with apart(make=make) as predictor:
        with pytest.raises(BadModel) as raised:
            predictor.wait_until_warm()
        assert str(raised.value).startswith("model 'obedient': ")
        assert message in str(raised.value)
        assert "\n" not in str(raised.value)
        with pytest.raises(BadModel):
            predictor.predict(does("ok"))
        assert predictor.counts.starts == 1


def test_a_model_that_loads_for_too_long_is_refused() -> None:
    told_so = pytest.raises(BadModel, match=r"expected to be loaded within 0.5 s, is not$")
    with apart(Limits(start_s=0.5), make="never_loads") as predictor, told_so:
        predictor.wait_until_warm()


def test_later_starts_that_fail_are_tried_ever_less_often_and_lose_nothing(
    tmp_path: Path,
) -> None:
    marker = tmp_path / "loaded"
    with apart(make="loads_once", arguments=(str(marker),)) as predictor:
        predictor.predict(does("ok"))
        ticket = predictor.submit(does("segfault", "ok"))
        failed_s = []
        for count in (1, 4):  # pauses of .1, .2 and .4 s lie between
            until(partial(lambda least: predictor.counts.failed_starts >= least, count))
            failed_s.append(time.monotonic())
        assert failed_s[1] - failed_s[0] > 0.65
        assert ticket.left == 2

        def loaded() -> bool:
            marker.unlink(missing_ok=True)
            return not ticket.left

        until(loaded)
        assert told(ticket.answers) == ["model_crashed", 1]


def test_a_model_is_called_with_its_schemas_example_before_the_first_record() -> None:
    schema = {"examples": [{"do": "ok", "n": 0}]}
    with apart(arguments=(True, schema)) as predictor:
        assert predictor.predict(does("calls")) == [2]
    with apart() as predictor:
        assert predictor.predict(does("calls")) == [1]


def test_a_spare_takes_over_at_once() -> None:
    with apart(Limits(spare=True, timeout_s=0.3)) as predictor:
        predictor.wait_until_warm()
        until(lambda: predictor._crew._spare is not None)
        spare = predictor._crew._spare
        assert spare is not None
        assert told(predictor.predict(does("hang"))) == ["model_timeout"]
        assert predictor.pid == spare.pid
        assert told(predictor.predict(does("ok"))) == [0]


def test_the_process_ends_with_ours_though_it_hangs() -> None:
    program = (
        "import sys, time, apart\n"
        "from streamrec.models.serving.apart.predictor import ApartPredictor\n"
        "from streamrec.models.serving.apart.settings import Limits\n"
        "predictor = ApartPredictor(apart.plan(), Limits(), 'obedient')\n"
        "((pid, _),) = predictor.predict(apart.does('where'))\n"
        "predictor.submit(apart.does('spin'))\n"
        "time.sleep(0.2)\n"
        "print(pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": FOLDER}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
    until(lambda: not _runs(pid))


def _runs(pid: int) -> bool:
    """Not a zombie either: whoever inherits it may take its time."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"timeout_s": 0}, "timeout_s expected more than 0, got 0"),
        ({"memory_mb": float("nan")}, "memory_mb expected more than 0, got nan"),
        ({"nice": 20}, "nice expected 0 to 19, got 20"),
        ({"pause_s": -1}, "pause_s expected 0 or more, got -1"),
    ],
)
def test_limits_that_mean_nothing_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Limits(**wrong)  # type: ignore[arg-type]  # on purpose


def test_importing_the_process_program_does_not_bring_numpy() -> None:
    program = (
        "import sys, streamrec.models.serving.apart.child\n"
        "sys.exit(str(sorted({'numpy', 'numba', 'pydantic'} & set(sys.modules)) or ''))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.strip() == ""


def test_a_fault_of_the_example_is_no_reason_to_refuse_a_model() -> None:
    schema = {"examples": [{"do": "raise", "n": 0}]}
    with apart(arguments=(True, schema)) as predictor:
        (answer,) = predictor.predict(does("raise"))
        assert isinstance(answer, Fault)
