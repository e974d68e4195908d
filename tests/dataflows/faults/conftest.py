"""Fixtures of the tests in which what is around the main job fails."""

from collections.abc import Iterator

import pytest

from streamrec.connectors.local.kafka import LocalKafka, local_kafka


@pytest.fixture(scope="module")
def own(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalKafka]:
    """A broker and a registry of these tests' own, since they stop them."""
    if request.config.getoption("--kafka") != "local":
        pytest.skip("needs a broker that may be stopped, and --kafka is not 'local'")
    with local_kafka(tmp_path_factory.mktemp("own-kafka")) as kafka:
        yield kafka
