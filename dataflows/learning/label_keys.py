"""By what records are sharded for labelling: the request that they are about, or the user."""

from collections.abc import Callable
from typing import Any

import numpy as np

from streamrec.connectors.log import Headers
from streamrec.dataflows.errors.failed import Origins
from streamrec.dataflows.job.answers import SOURCE_HEADER
from streamrec.dataflows.job.topics import OUTCOMES
from streamrec.dataflows.serving.request_ids import REQUEST_ID
from streamrec.dataflows.steps.click_rules import MAX_ID_BYTES
from streamrec.dataflows.steps.decode_records import AvroFields, Checked
from streamrec.dataflows.steps.records import fill_places
from streamrec.dataflows.steps.rules import Between, EventTime, Rule, TextLength, settled
from streamrec.schemas.columns import Bytes, strings
from streamrec.schemas.place_texts import place_texts
from streamrec.schemas.placing import keys_of
from streamrec.schemas.reasons import Reason
from streamrec.schemas.row_values import BytesRows
from streamrec.schemas.served import SERVED
from streamrec.schemas.wire import Decoded

OUTCOME_RULES: tuple[Rule, ...] = (
    TextLength("recommendation_id", 1, MAX_ID_BYTES),
    TextLength("user_id", 0, MAX_ID_BYTES),
    TextLength("item_id", 0, MAX_ID_BYTES),
    TextLength("kind", 1, 64),
    Between("value", -1e308, 1e308),
    Between("weight", 0.0, 1e308),
    EventTime("timestamp"),
)
IMPRESSION_RULES: tuple[Rule, ...] = (
    TextLength("recommendation_id", 1, MAX_ID_BYTES),
    TextLength("user_id", 1, MAX_ID_BYTES),
    EventTime("timestamp"),
)


class ByRequest:
    """Inputs and outputs of pipelines, by the request that their headers name, else by their own
    place; at the log's times."""

    reader = BytesRows()

    def __init__(self, by_source: bool = True) -> None:
        """`by_source`: records that answer another, and name no request, are about its place."""
        self._by_source = by_source

    def check(self, origins: Origins, decoded: Decoded) -> Checked:
        rows = decoded.rows
        places = np.empty((len(rows), 2), np.int64)
        places[:, 1], _ = fill_places(origins, rows, places[:, 0])
        keys = place_texts(origins.batches[0].topic, places)
        headers = [origins.headers(row) for row in rows.tolist()]
        if any(headers):
            own = keys_of(keys)
            named = [
                _request(each, self._by_source) or place
                for each, place in zip(headers, own, strict=True)
            ]
            keys = strings(named)
        return Checked(keys, origins.times_ms(rows), {})


class ByServedRequest:
    """Outputs in Avro, by the request that they name themselves."""

    reader = BytesRows()

    def __init__(self, any_avro: Callable[[bytes, Headers], Any]) -> None:
        """`any_avro` decodes a value as it was written."""
        self._any_avro = any_avro

    def check(self, origins: Origins, decoded: Decoded) -> Checked:
        column = decoded.columns["value"]
        assert isinstance(column, Bytes)
        keys: list[str] = []
        faults: dict[int, tuple[Reason, str]] = {}
        for index, row in enumerate(decoded.rows.tolist()):
            try:
                found = self._any_avro(column.bytes_at(index), origins.headers(row))
                keys.append(found[SERVED]["request_id"])
            except Exception as error:  # noqa: BLE001  # whatever is on the topic
                keys.append("")
                message = f"value expected an output of a model, got {error}"
                faults[index] = Reason.UNDECODABLE, message
        return Checked(strings(keys), origins.times_ms(decoded.rows), faults)


class OutcomeFields:
    """Outcomes: of scores by the request, of items by the user, who must be named."""

    def __init__(self, max_ahead_s: int, scores: bool, items: bool) -> None:
        """What is labelled. Where both are, an outcome with an item is about the item."""
        self._fields = AvroFields(
            OUTCOMES, "recommendation_id", "timestamp", settled(OUTCOME_RULES, max_ahead_s)
        )
        self.reader = self._fields.reader
        self._scores = scores
        self._items = items

    def check(self, origins: Origins, decoded: Decoded) -> Checked:
        checked = self._fields.check(origins, decoded)
        if not self._items:
            return checked
        users, items = decoded.columns["user_id"], decoded.columns["item_id"]
        assert isinstance(users, Bytes) and isinstance(items, Bytes)
        n = len(decoded.rows)
        has_item = np.ones(n, np.bool_) if items.valid is None else items.valid
        has_user = np.ones(n, np.bool_) if users.valid is None else users.valid
        if not self._scores:
            for row in np.flatnonzero(~has_item).tolist():
                checked.faults.setdefault(row, _expected("item_id", "the item"))
            has_item = np.ones(n, np.bool_)
        for row in np.flatnonzero(has_item & ~has_user).tolist():
            checked.faults.setdefault(row, _expected("user_id", "the user to whom it was shown"))
        own, by_user = keys_of(checked.keys), keys_of(users)
        keys = [u if is_item else k for k, u, is_item in zip(own, by_user, has_item, strict=True)]
        return Checked(strings(keys), checked.times_ms, checked.faults)


def _request(headers: Headers, by_source: bool) -> bytes | None:
    source = None
    for name, value in headers:
        if name == REQUEST_ID and value:
            return value.decode(errors="replace").encode()
        if name == SOURCE_HEADER and by_source:
            source = value
    return source


def _expected(field: str, what: str) -> tuple[Reason, str]:
    return Reason.INVALID_VALUE, f"field {field} expected {what}, got null"


__all__ = [
    "IMPRESSION_RULES",
    "OUTCOME_RULES",
    "ByRequest",
    "ByServedRequest",
    "OutcomeFields",
]
