"""The bytes of a skops file, the same for the same model: skops itself writes addresses of objects
and the time of day into it."""

import io
import re
import zipfile
from typing import Any

_DATE = (1980, 1, 1, 0, 0, 0)
_ID = re.compile(r'"__id__": (\d+)')
_SCHEMA = "schema.json"


def skops_bytes(model: Any) -> bytes:
    """A model as a skops file."""
    import skops.io  # here, since it takes seconds

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(model))) as written:
        parts = {entry.filename: written.read(entry) for entry in written.infolist()}
    schema = parts.pop(_SCHEMA).decode()
    numbers: dict[str, str] = {}
    schema = _ID.sub(lambda m: f'"__id__": {numbers.setdefault(m[1], str(len(numbers)))}', schema)
    names: dict[str, str] = {}
    for name in sorted(parts, key=schema.index):
        names[name] = f"part-{len(names)}{name[name.rindex('.') :]}"
        schema = schema.replace(f'"{name}"', f'"{names[name]}"')
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in [(_SCHEMA, schema.encode()), *((names[n], parts[n]) for n in names)]:
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system = 3  # whoever writes it
            archive.writestr(entry, content)
    return out.getvalue()


__all__ = ["skops_bytes"]
