"""The whole main job on the simulated shop: CPU for each recommendation of the top 20."""

from benchmarks.figures import Figure
from benchmarks.place import Place
from benchmarks.processes import Progress, expect_count, flow, running
from streamrec.shop.sending import send_shop
from streamrec.shop.shop import Shop
from streamrec.shop.world import VIEW

NAME = "main_job"
EVENTS = 60_000
TOP_K = 20
CPU_US_MAX = 150.0
WARM_UP_SHARE = 0.5  # by then the index holds sessions of most items


def run(place: Place, events: int) -> list[Figure]:
    clicks = place.make_topic("clicks")
    asked, broken = fill_from_shop(place, clicks, events)
    recommendations, sessions, errors = map(
        place.make_topic, ("recommendations", "sessions", "errors")
    )
    environment = main_job_environment(place, clicks, recommendations, sessions, errors)
    arguments = flow("dataflows.recommender")
    with running("recommender", arguments, environment, place.folder) as process:
        progress = Progress(process, place.log, recommendations)
        progress.watch(lambda sample: False)
        process.wait()
    expect_count(place.log, recommendations, asked)
    expect_count(place.log, errors, broken)
    place.delete_topics(clicks, recommendations, sessions, errors)
    warm_us, wall_us = progress.warm_us(asked, WARM_UP_SHARE)
    name = f"{NAME}.{place.backend}"
    whole_us = progress.process.cpu_s() * 1e6 / asked
    return [
        Figure(f"{name}.cpu_warm", warm_us, "us CPU/recommendation", CPU_US_MAX),
        Figure(f"{name}.cpu_whole", whole_us, "us CPU/recommendation"),
        Figure(f"{name}.rate", 1e6 / wall_us, "recommendations/s"),
    ]


def main_job_environment(
    place: Place, clicks: str, recommendations: str, sessions: str, errors: str
) -> dict[str, str]:
    return place.process_environment(
        clicks_topic=clicks,
        recommendations_topic=recommendations,
        sessions_topic=sessions,
        errors_topic=errors,
        consumer_group=recommendations,
        start_from="earliest",
        follow=False,
        recommend_on="view",
        top_k=TOP_K,
    )


def fill_from_shop(place: Place, clicks: str, events: int) -> tuple[int, int]:
    """Write the shop's records; returns how many recommendations and errors must come out."""
    asked = broken = 0
    for sent in send_shop(
        place.log, clicks, lambda ids: Shop(seed=1, clicks=events, schema_ids=ids)
    ):
        batch = sent.records
        asked += int((batch.is_good() & (batch.clicks.event_types == VIEW)).sum())
        broken += batch.error_counts().total()
    return asked, broken
