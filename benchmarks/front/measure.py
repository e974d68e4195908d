"""The front: events in by HTTP, recommendations written to a store and read by HTTP, and both."""

import re
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.front.answered import from_click_to_answer
from benchmarks.front.load import by_oha, by_wrk, gets, posts
from benchmarks.front.served import dataflow, keyed, service
from benchmarks.front.users import fill
from benchmarks.place import Place
from benchmarks.processes import BenchmarkError, recovering, running

NAME = "front"
EVENTS = 1_000_000  # users of the store
SECONDS = 10
EPOCH_S = 10
IN_A_LIST = 100
CLICKS_A_SECOND = 500
ANSWERED_S = 60
_WARM_S = 10

EACH_A_CORE_MIN = 5_000
LISTED_A_CORE_MIN = 20_000
READS_A_CORE_MIN = 5_000
READ_P99_MS_MAX = 5.0
STORED_A_SECOND_MIN = 50_000
ANSWERED_P99_MS_MAX = 300.0


def run(place: Place, events: int) -> list[Figure]:
    name = f"{NAME}.{place.backend}"
    seconds = SECONDS if events >= EVENTS else 2
    with tempfile.TemporaryDirectory(dir=place.folder) as folder:
        return [
            *_ingress(place, name, Path(folder), seconds),
            *_stored_and_read(place, name, Path(folder), events, seconds),
            *_answered(place, name, Path(folder), ANSWERED_S if events >= EVENTS else 5),
        ]


def _ingress(place: Place, name: str, folder: Path, seconds: int) -> list[Figure]:
    topics = _topics(place, "clicks", "impressions", "outcomes")
    environment, key = keyed(place, **topics)
    now_ms = int(time.time() * 1000)
    figures: list[Figure] = []
    with service(place, "ingress", environment) as ingress:
        for what, count, least in (
            ("one_by_one", 1, EACH_A_CORE_MIN),
            ("in_lists", IN_A_LIST, LISTED_A_CORE_MIN),
        ):
            script = posts(folder, "/clicks", key, count, now_ms)
            by_wrk([ingress.process], ingress.url, script, 2, 64)  # warm
            rate = by_wrk([ingress.process], ingress.url, script, seconds, 64)
            place.say(f"ingress {what}: {rate.a_second * count:,.0f} events a second")
            figures += [
                Figure(f"{name}.ingress.{what}.a_core", rate.a_core * count, "1/s", at_least=least),
                Figure(f"{name}.ingress.{what}.rate", rate.a_second * count, "events/s"),
                Figure(f"{name}.ingress.{what}.generator", rate.generator_cpu_s / seconds, "cores"),
            ]
    place.delete_topics(*topics.values())
    return figures


def _topics(place: Place, *names: str) -> dict[str, str]:
    """New ones, by the settings that name them."""
    return {f"{name}_topic": place.make_topic(name) for name in names}


def _stored_and_read(
    place: Place, name: str, folder: Path, users: int, seconds: int
) -> list[Figure]:
    topics = _topics(
        place, "recommendations", "sessions", "clicks", "impressions", "errors", "outcomes"
    )
    recommendations = topics["recommendations_topic"]
    place.say(f"writing recommendations of {users:,} users")
    fill(place, recommendations, users, int(time.time() * 1000))
    store = folder / "store"
    environment, key = keyed(
        place,
        **topics,
        consumer_group=recommendations,
        store=store,
    )
    written = {**environment, "STREAMREC_FOLLOW": "false"}
    arguments = recovering("dataflows.store", folder / "state-store", EPOCH_S)
    with running("store", arguments, written, place.folder) as process:
        process.wait()
        stored = _stored_a_second(process.log.read_text(encoding="utf-8"), users)
    place.say(f"store: {stored:,.0f} a second")
    figures = [
        Figure(f"{name}.store.rate", stored, "records/s", at_least=STORED_A_SECOND_MIN),
        Figure(f"{name}.store.cpu", process.cpu_s() * 1e6 / users, "us CPU/record"),
    ]
    with service(place, "api", environment) as api:
        script = gets(folder, "/recommendations/u%d", key, users)
        by_wrk([api.process], api.url, script, 2, 64)  # warm
        rate = by_wrk([api.process], api.url, script, seconds, 64)
        place.say(f"api: {rate.a_second:,.0f} a second")
        url = f"{api.url}/recommendations/u[1-9][0-9]{{0,{len(str(users)) - 2}}}"
        latency = by_oha(url, key, rate.a_core / 2, seconds)
    return [
        *figures,
        Figure(f"{name}.api.a_core", rate.a_core, "1/s", at_least=READS_A_CORE_MIN),
        Figure(f"{name}.api.rate", rate.a_second, "requests/s"),
        Figure(f"{name}.api.generator", rate.generator_cpu_s / seconds, "cores"),
        Figure(f"{name}.api.at_half.rate", latency.a_second, "requests/s"),
        Figure(f"{name}.api.at_half.p50", latency.p50_ms, "ms"),
        Figure(f"{name}.api.at_half.p99", latency.p99_ms, "ms", READ_P99_MS_MAX),
    ]


def _stored_a_second(log: str, users: int) -> float:
    found = re.search(r"ended in good order: ([\d,]+) read in [\d.]+ s \(([\d,]+)/s\)", log)
    if found is None or int(found[1].replace(",", "")) != users:
        raise BenchmarkError(f"store expected to tell of {users} records, got:\n{log[-2000:]}")
    return float(found[2].replace(",", ""))


def _answered(place: Place, name: str, folder: Path, seconds: int) -> list[Figure]:
    topics = _topics(
        place, "clicks", "recommendations", "errors", "sessions", "impressions", "outcomes"
    )
    environment, key = keyed(
        place,
        **topics,
        consumer_group=f"{place.prefix}-answered",
        store=folder / "store-answered",
    )
    with ExitStack() as stack:
        ingress = stack.enter_context(service(place, "ingress", environment))
        flows = [
            stack.enter_context(dataflow(place, each, environment, folder / each, EPOCH_S))
            for each in ("recommender", "store")
        ]
        api = stack.enter_context(service(place, "api", environment))
        from_click_to_answer(ingress.url, api.url, key, CLICKS_A_SECOND, _WARM_S, 5_000)
        before_s = [process.cpu_s() for process in (ingress.process, *flows, api.process)]
        seen = from_click_to_answer(ingress.url, api.url, key, CLICKS_A_SECOND, seconds, 5_000)
        used = [
            (process.cpu_s() - before) / seconds
            for process, before in zip(
                (ingress.process, *flows, api.process), before_s, strict=True
            )
        ]
    answered = sorted(seen.answered_ms)
    place.say(f"from click to answer: p99 {_percentile(answered, 99):.0f} ms")
    return [
        Figure(f"{name}.answered.p50", statistics.median(answered), "ms"),
        Figure(f"{name}.answered.p99", _percentile(answered, 99), "ms", ANSWERED_P99_MS_MAX),
        Figure(f"{name}.answered.most", answered[-1], "ms"),
        Figure(f"{name}.answered.looked_for", len(answered), "clicks"),
        Figure(f"{name}.answered.sent", seen.sent / seconds, "clicks/s"),
        Figure(f"{name}.acknowledged.p99", _percentile(sorted(seen.acknowledged_ms), 99), "ms"),
        *(
            Figure(f"{name}.answered.{part}", cores, "cores")
            for part, cores in zip(("ingress", "recommender", "store", "api"), used, strict=True)
        ),
    ]


def _percentile(ordered: list[float], percent: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


__all__ = ["EVENTS", "NAME", "run"]
