"""The front under kill -9: clicks go in over HTTP and recommendations are read over HTTP while
ingress, main job, store flow and API are killed in turns; then all that was seen is checked.

    python -m tests.proofs.chaos --flow front --kills 8

- *lost*: a click that was acknowledged and is not where the acknowledgement said, or has no answer.
- *duplicated*: a click that was answered twice, however often it was sent.
- *went back*: a user who was shown an older recommendation after a newer one, or for whom the store
  does not hold the newest one in the end.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from benchmarks.place import Place
from benchmarks.processes import BenchmarkError
from streamrec.connectors.local.free_ports import free_ports
from streamrec.connectors.reading import read_all
from streamrec.dataflows.errors.failed import EVENT_ID
from streamrec.dataflows.job.settings import Settings, load_settings
from streamrec.dataflows.job.topics import CLICKS, ERRORS, RECOMMENDATIONS, make_all
from streamrec.schemas.json_codec import JsonDecoder
from streamrec.services.together.keeper import Keeper, PartsError
from streamrec.services.together.parts import Places, environment_of, parts_of
from tests.proofs.chaos_check import ChaosVerdict

USERS, ITEMS = 40, 60
_SENDERS = 4
_READY_S = 120.0
_CALM_S = 4.0  # that all must be up between two kills
_QUIET_S = 60.0  # for all that was acknowledged to be answered and stored, at the end

# Of a recommendation: partition and offset of the click. A user has one partition and one sender,
# so the clicks of a user are in the order of their offsets and of their times.
Order = tuple[int, int]


class Acknowledged(NamedTuple):
    partition: int
    offset: int
    user: str


@dataclass
class Seen:
    """What senders and readers were told."""

    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)  # by event id
    sent: int = 0  # requests, those that had no answer too
    reads: int = 0
    newest: dict[str, Order] = field(default_factory=dict)  # by user, what was read last
    went_back: list[str] = field(default_factory=list)


class FrontRun:
    """All parts, with load on them, until so many kills are over."""

    def __init__(self, place: Place, kills: int, seed: int) -> None:
        self._chance = random.Random(seed)
        self._kills = kills
        self._place = place
        self._stop = threading.Event()
        self.places = Places(place.folder, *free_ports(3))
        self.environment = environment_of(self.places, dict(place.process_environment()))
        self.environment["STREAMREC_TOP_K"] = "20"
        self.keeper = Keeper(
            parts_of(self.places), self.environment, place.folder / "logs", self._stop.is_set
        )
        self.seen = Seen()
        self.killed: Counter[str] = Counter()

    def run(self) -> None:
        """Raises BenchmarkError for a part that does not become ready."""
        self.keeper.start()
        try:
            self.keeper.await_ready(_READY_S)
            keeping = threading.Thread(target=self.keeper.keep)
            keeping.start()
            with self._load():
                self._kill_in_turns()
            self._await_quiet()
        except PartsError as error:
            raise BenchmarkError(f"front: {error}") from error
        finally:
            self._stop.set()
            self.keeper.stop()

    def _kill_in_turns(self) -> None:
        names = [part.name for part in self.keeper.parts]
        for number in range(self._kills):
            self._ready()
            time.sleep(_CALM_S + self._chance.uniform(0, 2))
            name = names[number % len(names)]
            self.keeper.kill(name)
            self.killed[name] += 1
        self._ready()
        time.sleep(_CALM_S)

    def _ready(self) -> None:
        until_s = time.monotonic() + _READY_S
        for url in (self.places.ingress, self.places.api):
            while not _answers(f"{url}/health/ready"):
                if time.monotonic() > until_s:
                    raise BenchmarkError(f"front: {url} is not ready after {_READY_S:.0f} s")
                time.sleep(0.1)

    @contextmanager
    def _load(self) -> Iterator[None]:
        over = threading.Event()
        seeds = [self._chance.randrange(2**32) for _ in range(_SENDERS + 1)]
        threads = [
            threading.Thread(target=self._send, args=(number, seed, over))
            for number, seed in enumerate(seeds[:-1])
        ]
        threads.append(threading.Thread(target=self._read, args=(seeds[-1], over)))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join(_READY_S)

    def _send(self, number: int, seed: int, over: threading.Event) -> None:
        """One click after the other, each until it is acknowledged."""
        chance, count = random.Random(seed), 0
        with httpx.Client(base_url=self.places.ingress, timeout=20) as client:
            while not over.is_set():
                # A user has one sender, so that the user's clicks have an order.
                user = f"u{number + _SENDERS * chance.randrange(USERS // _SENDERS)}"
                event_id = f"{number}-{count}"
                event = {
                    "event_id": event_id,
                    "user_id": user,
                    "item_id": f"i{chance.randrange(ITEMS)}",
                    "session_id": f"s-{user}",
                    "event_type": "view",
                    "timestamp": int(time.time() * 1000),
                }
                count += 1
                while True:
                    self.seen.sent += 1
                    try:
                        answer = client.post("/clicks", json=event)
                    except httpx.TransportError:
                        time.sleep(0.05)
                        continue
                    if answer.status_code == 200:
                        found = answer.json()
                        self.seen.acknowledged[event_id] = Acknowledged(
                            found["partition"], found["offset"], user
                        )
                        break
                    time.sleep(0.05)
                time.sleep(0.005)

    def _read(self, seed: int, over: threading.Event) -> None:
        chance = random.Random(seed)
        with httpx.Client(base_url=self.places.api, timeout=20) as client:
            while not over.is_set():
                self._look(client, f"u{chance.randrange(USERS)}")
                time.sleep(0.005)

    def _look(self, client: httpx.Client, user: str) -> Order | None:
        try:
            answer = client.get(f"/recommendations/{user}", params={"n": 3})
        except httpx.TransportError:
            return None
        if answer.status_code != 200 or "offset" not in answer.json().get("source", {}):
            return None
        self.seen.reads += 1
        found = answer.json()
        source = found["source"]
        order = (int(source["partition"]), int(source["offset"]))
        before = self.seen.newest.get(user)
        if before is not None and order < before:
            self.seen.went_back.append(f"{user} was shown {before}, then {order}")
        self.seen.newest[user] = order
        return order

    def _await_quiet(self) -> None:
        """Until the store holds the newest of each user."""
        newest: dict[str, Acknowledged] = {}
        for each in self.seen.acknowledged.values():
            last = newest.get(each.user)
            if last is None or each.offset > last.offset:
                newest[each.user] = each
        until_s = time.monotonic() + _QUIET_S
        with httpx.Client(base_url=self.places.api, timeout=20) as client:
            for user, last in newest.items():
                while True:
                    order = self._look(client, user)
                    if order == (last.partition, last.offset):
                        break
                    if time.monotonic() > until_s:
                        wanted = (last.partition, last.offset)
                        self.seen.went_back.append(f"{user} has {order} in the end, not {wanted}")
                        break
                    time.sleep(0.05)


def front_verdict(place: Place, settings: Settings, seen: Seen) -> ChaosVerdict:
    """What was told against what is on the log."""
    events: dict[tuple[int, int], str] = {}
    for record in read_all(place.log, settings.topic(CLICKS)):
        told_id = dict(record.headers or ()).get(EVENT_ID) or b""
        events[record.partition, record.offset] = told_id.decode()
    with closing(place.log.registry()) as registry:
        decode = JsonDecoder(registry.by_id).decode

        def values(topic: str) -> Iterator[dict[str, Any]]:
            for record in read_all(place.log, topic):
                if record.value is not None:
                    yield decode(record.value, record.headers or [])

        answered = Counter(
            events[each["source_partition"], each["source_offset"]]
            for each in values(settings.topic(RECOMMENDATIONS))
        )
        failed = Counter(each["reason"] for each in values(settings.topic(ERRORS)))
    offenders: list[tuple[str, str]] = [("different", each) for each in seen.went_back]
    for event_id, told in seen.acknowledged.items():
        if events.get((told.partition, told.offset)) != event_id:
            offenders.append(("lost", f"{event_id} is not at {told}"))
        elif not answered[event_id]:
            offenders.append(("lost", f"{event_id} has no answer"))
    for event_id, count in answered.items():
        if count > 1:
            offenders.append(("duplicated", f"{event_id} was answered {count} times"))
    repeated = len(events) - len(set(events.values()))
    if failed != Counter({"repeated": repeated} if repeated else {}):
        said = f"errors expected {repeated} repeated, got {dict(failed)}"
        offenders.append(("different", said))
    return ChaosVerdict(
        len(seen.acknowledged),
        answered.total(),
        failed.total(),
        Counter(kind for kind, _ in offenders),
        [f"{kind}: {what}" for kind, what in offenders],
    )


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0).status_code == 200
    except httpx.HTTPError:
        return False


def settings_of(environment: dict[str, str], folder: Path) -> Settings:
    """The topics' names as the parts have them."""
    servers = environment.get("KAFKA_BOOTSTRAP_SERVERS") or None
    return load_settings(
        kafka_bootstrap_servers=servers,
        schema_registry_url=environment.get("SCHEMA_REGISTRY_URL") or None,
        embedded_log_path=folder / "log.sqlite",
    )


def chaos_of_front(place: Place, kills: int, seed: int, say: Any) -> ChaosVerdict:
    """Run, kill in turns, check."""
    run = FrontRun(place, kills, seed)
    settings = settings_of(run.environment, place.folder)
    make_all(place.log, settings.topics())
    run.run()
    seen = run.seen
    say(
        f"kills: {', '.join(f'{n} of {name}' for name, n in run.killed.items())}; "
        f"{len(seen.acknowledged):,} clicks acknowledged of {seen.sent:,} requests; "
        f"{seen.reads:,} recommendations read"
    )
    return front_verdict(place, settings, seen)


__all__ = ["chaos_of_front"]
