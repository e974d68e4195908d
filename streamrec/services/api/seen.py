"""Impressions of what is answered: who asks with `seen` says that it will be shown."""

import logging
from typing import Any
from uuid import uuid4

from streamrec.connectors.log import LogError, SchemaRegistry
from streamrec.connectors.making_topics import subject_of
from streamrec.services.http.problems import Problem
from streamrec.services.ingress.events import IMPRESSION, Context, EventMaker
from streamrec.services.ingress.writer import Writer

_logger = logging.getLogger(__name__)


class Impressions:
    """Writes to the topic of impressions. An answer does not depend on it: where the log is away
    the page is given what it asked for, and told that nothing was written."""

    def __init__(self, writer: Writer, topic: str, max_ahead_s: int) -> None:
        self._writer = writer
        self._topic = topic
        self._max_ahead_s = max_ahead_s
        self._maker: EventMaker | None = None

    def learn_schema(self, registry: SchemaRegistry) -> None:
        """Raises SchemaError, RegistryUnavailableError, LogError."""
        found = registry.find(subject_of(self._topic), IMPRESSION.topic.schema)
        self._maker = EventMaker(IMPRESSION, self._topic, found.id, self._max_ahead_s)

    async def write(self, answer: dict[str, Any], now_ms: int) -> None:
        """Write what an answer shows, and note in it where that stands: `impression`, None where it
        was not written. An answer that is no record of the topic is given an id."""
        answer["impression"] = None
        items = [item["item_id"] for item in answer["items"]]
        if not items or self._maker is None:
            return
        if answer.get("recommendation_id") is None:
            answer["recommendation_id"] = f"api/{uuid4().hex}"
        shown = {
            "recommendation_id": answer["recommendation_id"],
            "user_id": answer.get("user_id") or answer["recommendation_id"],
            "items": items,
        }
        try:
            event = self._maker.make(shown, Context(now_ms, []))
            (written,) = await self._writer.append(((event.topic, event.message),))
        except Problem as problem:
            _logger.warning("an impression was not written: %s", problem.detail)
            return
        if isinstance(written, LogError):
            _logger.warning("an impression was not written: %s", written)
            return
        answer["impression"] = {
            "topic": self._topic,
            "partition": written.partition,
            "offset": written.offset,
        }


__all__ = ["Impressions"]
