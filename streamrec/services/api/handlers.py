"""What each route of the API answers."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson

from streamrec.models.users.features import Feature
from streamrec.services.api.answers import Json, of_everybody, of_record, of_user
from streamrec.services.api.asking import Asking, asking_of, asking_of_body, checked_id
from streamrec.services.api.known import KnownUsers
from streamrec.services.api.live import ForEverybody, LiveItems, ReadSoFar, ScoredItem
from streamrec.services.api.seen import Impressions
from streamrec.services.api.session_body import Session, items_of, session_of_body
from streamrec.services.http.problems import Problem
from streamrec.services.http.replies import Reply
from streamrec.services.http.requests import Request
from streamrec.services.store.users import unpacked

FeaturesOf = Callable[[str], Sequence[Feature] | None]  # of a digest; None: another declaration


class Handlers:
    """The functions of the routes, over the store and the index of the process."""

    def __init__(
        self,
        users: KnownUsers,
        live: Callable[[], LiveItems],
        sessions_topic: str,
        gap_ms: int,
        features_of: FeaturesOf,
        impressions: Impressions,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        """`live` raises Problem (503) until the index is loaded."""
        self._users = users
        self._live = live
        self._topic = sessions_topic
        self._gap_ms = gap_ms
        self._features_of = features_of
        self._impressions = impressions
        self._clock_s = clock_s

    async def of_user(self, request: Request) -> Reply:
        """GET /recommendations/{user}"""
        user_id = checked_id(request.params["user"], "user")
        asking, now_ms = asking_of(request.query), self._now_ms()
        value = await self._users.value(user_id)
        if value is not None and asking.is_plain:
            quick = self._users.quick_answer(user_id, value, asking.n, now_ms)
            if quick is not None:
                return Reply(200, quick)
        if value is None:
            lists = await self._lists()
            answer = self._everybody(
                "popular", [], asking, now_ms, lists.learned, lists.popular, user_id=user_id
            )
        else:
            # Popular items are asked for where the list is not full without them.
            record = self._users.record(value)
            features = self._features_of(record["feature_set"]) if asking.explain else None
            answer = of_record(record, asking, _Late(self._live), now_ms, features)
        return await self._reply(answer, asking, now_ms)

    async def of_session(self, request: Request) -> Reply:
        """POST /recommendations"""
        body = _object(await request.json())
        asking, session, now_ms = asking_of_body(body), await self._session(body), self._now_ms()
        wanted = asking.first + asking.n + len(asking.exclude)
        live, popular = self._live(), (await self._lists()).popular
        learned = live.learned()
        # In threads: what is being learned may hold the index for some milliseconds.
        found = await asyncio.to_thread(live.recommend, session.items, session.times_ms, wanted)
        answer = self._everybody(
            "session", found, asking, now_ms, learned, popular, user_id=session.user_id
        )
        return await self._reply(answer, asking, now_ms)

    async def rank(self, request: Request) -> Reply:
        """POST /rank"""
        body = _object(await request.json())
        items, session, now_ms = items_of(body), await self._session(body), self._now_ms()
        live = self._live()
        learned = live.learned()
        ranked, rest = await asyncio.to_thread(live.rank, session.items, session.times_ms, items)
        behind = [ScoredItem(item, 0.0, 0) for item in rest]
        asking = asking_of_body(body)._replace(n=len(items), first=0, exclude=frozenset())
        answer = self._everybody("rank", ranked, asking, now_ms, learned, behind)
        del answer["next"]
        return await self._reply(answer, asking, now_ms)

    async def neighbours(self, request: Request) -> Reply:
        """GET /items/{item}/neighbours"""
        item_id = checked_id(request.params["item"], "item")
        asking, now_ms = asking_of(request.query), self._now_ms()
        wanted = asking.first + asking.n + len(asking.exclude)
        live = self._live()
        learned = live.learned()
        found = await asyncio.to_thread(live.around, item_id, wanted)
        if found is None:
            raise Problem(404, "item expected one that was clicked, got another")
        return await self._reply(
            self._everybody("neighbours", found, asking, now_ms, learned, item_id=item_id),
            asking,
            now_ms,
        )

    async def popular(self, request: Request) -> Reply:
        """GET /popular"""
        asking, now_ms = asking_of(request.query), self._now_ms()
        lists = await self._lists()
        answer = self._everybody("popular", lists.popular, asking, now_ms, lists.learned)
        return await self._reply(answer, asking, now_ms)

    async def latest(self, request: Request) -> Reply:
        """GET /latest"""
        asking, now_ms = asking_of(request.query), self._now_ms()
        lists = await self._lists()
        answer = self._everybody("latest", lists.latest, asking, now_ms, lists.learned)
        return await self._reply(answer, asking, now_ms)

    async def user(self, request: Request) -> Reply:
        """GET /users/{user}"""
        user_id = checked_id(request.params["user"], "user")
        value = await self._users.value(user_id)
        if value is None:
            raise Problem(404, "user expected one with a recommendation, got another")
        record = self._users.record(value)
        features = self._features_of(record["feature_set"])
        answer = of_user(user_id, unpacked(value), record, features, self._gap_ms, self._now_ms())
        return Reply(200, orjson.dumps(answer))

    def _everybody(
        self,
        kind: str,
        found: Sequence[ScoredItem],
        asking: Asking,
        now_ms: int,
        learned: ReadSoFar,
        fill: Sequence[ScoredItem] = (),
        **more: Any,
    ) -> Json:
        info = self._live().info
        return of_everybody(kind, found, asking, info, learned, self._topic, now_ms, fill, **more)

    async def _lists(self) -> ForEverybody:
        live = self._live()
        return live.lists() if live.has_lists else await asyncio.to_thread(live.lists)

    async def _session(self, body: Json) -> Session:
        """The session of a request: as it says it, or that of the user whom it names."""
        session = session_of_body(body)
        if session.items or session.user_id is None:
            return session
        value = await self._users.value(session.user_id)
        if value is None:
            return session
        history = unpacked(value).history[::-1]
        return Session(
            [event.item_id for event in history],
            [event.time_ms for event in history],
            session.user_id,
        )

    async def _reply(self, answer: Json, asking: Asking, now_ms: int) -> Reply:
        if asking.seen:
            await self._impressions.write(answer, now_ms)
        return Reply(200, orjson.dumps(answer))

    def _now_ms(self) -> int:
        return int(self._clock_s() * 1_000)


class _Late:
    """What is popular, made when it is looked at."""

    def __init__(self, live: Callable[[], LiveItems]) -> None:
        self._live = live

    def __iter__(self) -> Iterator[ScoredItem]:
        return iter(self._live().lists().popular)


def _object(body: Any) -> Json:
    if not isinstance(body, dict):
        raise Problem(422, "body expected an object, got another kind of value")
    return body


__all__ = ["FeaturesOf", "Handlers"]
