"""Recommendations as tests send them, and what the store must then say."""

from contextlib import closing

from streamrec.connectors.log import Outgoing
from streamrec.dataflows.job.topics import RECOMMENDATIONS
from streamrec.schemas.json_codec import JsonEncoder
from streamrec.services.store.contract import StoreError, ValueStore
from streamrec.services.store.users import USERS, unpacked
from tests.dataflows.main_job import START_MS, MainJob

USERS_ASKED = [b"u%d" % n for n in range(400)]


def send(job: MainJob, first: int, count: int) -> None:
    """Recommendations of all users in turn, each newer than the one before."""
    topic = job.settings.topic(RECOMMENDATIONS)
    found = job.log.registry().latest(f"{topic}-value")
    encoder = JsonEncoder(found.schema, found.id)
    with closing(job.log.writer()) as writer:
        writer.write(topic, (_record(encoder, n) for n in range(first, first + count)))


def _record(encoder: JsonEncoder, number: int) -> Outgoing:
    user = USERS_ASKED[number % len(USERS_ASKED)]
    recommendation = {
        "user_id": user.decode(),
        "source_topic": "clicks",
        "source_partition": 0,
        "source_offset": number,
        "requested_at": START_MS + number,
        "item_id": f"i{number}",
        "items": [{"item_id": f"i{n}", "score": 1.0, "methods": 1} for n in range(60)],
        "model_name": "m",
        "model_version": "v",
        "method_names": "repeat",
        "feature_set": "f",
        "features": [0.5] * 20,
    }
    return Outgoing(user, encoder.encode(recommendation))


def offsets(store: ValueStore) -> list[int]:
    """The newest click of each user, by its offset; -1: none."""
    try:
        values = store.get(USERS, USERS_ASKED)
    except StoreError:
        return [-1] * len(USERS_ASKED)
    return [-1 if value is None else unpacked(value).asked.offset for value in values]


def newest(count: int) -> list[int]:
    """What that must be after so many recommendations."""
    users = len(USERS_ASKED)
    return [(count - 1 - user) // users * users + user for user in range(users)]
