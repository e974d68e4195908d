"""A model's schemas under its version: the same at every start on a recovery directory."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from streamrec.connectors.written_once import write_once
from streamrec.dataflows.job.saved_state import state_directory
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.serving.schema_changes import without_words
from streamrec.dataflows.serving.topic_names import NamedPipeline
from streamrec.models.serving.contract import Metadata


def check_schemas(settings: Settings, pipelines: Sequence[NamedPipeline]) -> None:
    """Raises StartError for a model whose schemas are others than those that were served under its
    version. Without a recovery directory nothing is remembered."""
    folder = state_directory(settings)
    if folder is None:
        return
    for each in pipelines:
        for variant, metadata in zip(each.pipeline.variants, each.metadata, strict=True):
            name = f"{each.name}.{variant.name}" if variant.name else each.name
            _check(folder / "models" / f"{name}.{metadata.version}.json", name, metadata)


def _check(path: Path, name: str, metadata: Metadata) -> None:
    now = schema_digests(metadata)
    served = json.loads(write_once(path, lambda: json.dumps(now).encode()))
    changed = [what for what, digest in now.items() if served.get(what) != digest]
    if changed:
        raise StartError(
            f"model {name!r}: version {metadata.version} expected the {' and '.join(changed)} "
            f"schema with which it was served from {path.parent}, got another; a changed schema "
            "needs a new minor version, which gets topics of its own"
        )


def schema_digests(metadata: Metadata) -> dict[str, str]:
    """What tells one schema from another, of inputs and outputs: all but words."""
    schemas = {"input": metadata.input_schema, "output": metadata.output_schema}
    texts = {
        what: json.dumps(without_words(schema), sort_keys=True) for what, schema in schemas.items()
    }
    return {what: hashlib.sha256(text.encode()).hexdigest()[:16] for what, text in texts.items()}


__all__ = ["check_schemas", "schema_digests"]
