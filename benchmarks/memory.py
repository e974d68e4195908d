"""Memory of the scoring path over ten windows in which ever new users come: it follows the users
active within the longest window, not time.

Every hour of event time, the longest window, brings users never seen before. A user is held for up
to two hours of silence, so that from the third window on as many are dropped as come.
"""

import statistics

from benchmarks.clicks import START_MS, ClickLoad, fill
from benchmarks.figures import Figure
from benchmarks.place import Place
from benchmarks.processes import Progress, Sample, expect_count, flow, running
from benchmarks.scoring_paced import scoring_environment
from streamrec.models.users.features import HOUR_MS

NAME = "memory"
EVENTS = 600_000
WINDOWS = 10
SETTLED = 4  # windows after which memory must not grow any more
USERS = (20_000, 60_000)  # active in each window, in two runs
EVENTS_PER_USER_MIN = 1
GROWTH_MAX = 1.15
_MB = 1 << 20


def run(place: Place, events: int) -> list[Figure]:
    users = [min(count, events // WINDOWS // EVENTS_PER_USER_MIN) for count in USERS]
    runs = [over_windows(place, events, count) for count in users]
    figures: list[Figure] = []
    for count, (held, peak) in zip(users, runs, strict=True):
        name = f"{NAME}.users_{count}"
        growth = held[-1] / held[SETTLED - 1]
        figures += [
            *(Figure(f"{name}.window_{w + 1}", rss / _MB, "MB") for w, rss in enumerate(held)),
            Figure(f"{name}.peak", peak / _MB, "MB"),
            Figure(f"{name}.growth", growth, "x", GROWTH_MAX),
        ]
    settled = [statistics.mean(held[SETTLED - 1 :]) for held, _ in runs]
    if users[1] > users[0]:
        per_user = (settled[1] - settled[0]) / (users[1] - users[0])
        figures.append(Figure(f"{NAME}.per_active_user", per_user, "bytes"))
    return figures


def over_windows(place: Place, events: int, users: int) -> tuple[list[int], int]:
    """Bytes resident at the end of each window, and at most."""
    clicks, scores, errors = map(place.make_topic, ("clicks", "scores", "errors"))
    in_window = events // WINDOWS
    for window in range(WINDOWS):
        start_ms = START_MS + window * HOUR_MS
        fill(place, clicks, ClickLoad(in_window, users, 1.0, window * users, start_ms, window))
    environment = scoring_environment(place, clicks, scores, errors, follow=False)
    held: list[int] = []
    with running("memory", flow("dataflows.scoring"), environment, place.folder) as process:

        def at_window_end(sample: Sample) -> bool:
            return sample.done >= in_window * (len(held) + 1)

        while len(held) < WINDOWS:
            Progress(process, place.log, scores).watch(at_window_end)
            held.append(process.rss_bytes() or held[-1])  # it ends right after the last window
        process.wait()
    expect_count(place.log, scores, in_window * WINDOWS)
    place.delete_topics(clicks, scores, errors)
    return held, process.peak_bytes()
