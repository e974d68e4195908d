"""Topics of published models of a test's own."""

from pathlib import Path

from streamrec.connectors.log import Log
from streamrec.dataflows.job.topics import MODEL_EVENTS, MODELS, make_all
from streamrec.dataflows.learning.published import ModelTopics


def model_topics(log: Log, prefix: str) -> ModelTopics:
    """Makes them."""
    topics = ModelTopics(f"{prefix}-models", f"{prefix}-model-events")
    make_all(log, {topics.models: MODELS, topics.events: MODEL_EVENTS})
    return topics


def model_folder(path: Path, content: bytes) -> Path:
    """A folder with a file, that no test loads."""
    path.mkdir(parents=True)
    (path / "model.bin").write_bytes(content)
    return path


__all__ = ["model_folder", "model_topics"]
