"""A reader on each back end."""

from pathlib import Path

import pytest

from streamrec.connectors.log_settings import LogSettings
from streamrec.dataflows.job.topics import TOPICS
from tests.docs.pages import Reader, where

PAGES = [
    "cart_counts",
    "sales",
    "shop_totals",
    "shop_goals",
    "baskets",
    "orders",
    "reminders",
    "prices",
    "order_values",
]  # of dataflows on the pages
NAMES = [row.name for row in TOPICS if row.setting] + PAGES


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def reader(request: pytest.FixtureRequest, topic_name: str, tmp_path: Path) -> Reader:
    """Somebody in a folder outside the repository, with topics that no other test has."""
    settings: LogSettings | None = None
    if request.param == "kafka":
        settings = request.getfixturevalue("kafka_settings")
        request.getfixturevalue("kafka_log")  # deletes the topics at the end of the run
    topics = {name: f"{topic_name}-{name}" for name in NAMES}
    return Reader(tmp_path, where(settings, topics, topic_name))
