"""Where ours spends its CPU time, by a run whose steps are clocked: one figure for each."""

import json

from benchmarks.figures import Figure
from benchmarks.place import Place
from benchmarks.processes import running
from benchmarks.scorer.ours import serve
from benchmarks.scorer.throughput import WARM_UP_SHARE, Task

_SHOWN_US_MIN = 0.005


def breakdown(place: Place, task: Task, name: str) -> list[Figure]:
    """The dearest first. The clocks cost something too, so that the sum is more than an unclocked
    run takes."""
    run = f"{task.name}-clocked"
    served = serve(place, run, [{**task.model, "name": task.name, "inputs": [task.inputs]}])
    report = place.folder / f"{run}.json"
    warm_events = int(task.count * WARM_UP_SHARE)
    arguments = ["benchmarks.scorer.timed_scorer", str(warm_events), str(report)]
    with running(run, arguments, served.environment, place.folder) as process:
        process.wait()
    served.delete_topics(place)
    us_by_step = json.loads(report.read_text())["us"]
    by_cost = sorted(us_by_step.items(), key=lambda pair: -float(pair[1]))
    return [
        Figure(f"{name}.where.sum", sum(us_by_step.values()), "us CPU/record"),
        *(
            Figure(f"{name}.where.{step}", us, "us CPU/record")
            for step, us in by_cost
            if us >= _SHOWN_US_MIN
        ),
    ]
