"""What a record means: Avro schemas, the wire format, and the batch codec."""

from importlib.resources import files

_PACKAGE = files("streamrec.schemas")
NAMES = tuple(sorted(path.name[:-5] for path in _PACKAGE.iterdir() if path.name.endswith(".avsc")))


def load(name: str) -> str:
    """Return the JSON text of a packaged schema, by the name of its topic.

    Raises KeyError for a name that is not in `NAMES`.
    """
    if name not in NAMES:
        raise KeyError(f"schema expected one of {', '.join(NAMES)}, got {name!r}")
    return _PACKAGE.joinpath(f"{name}.avsc").read_text(encoding="utf-8")
