"""Click files written and read by tests."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from streamrec.connectors.click_files.clicks import SCHEMA, FileClicks
from streamrec.connectors.click_files.forms import FileForm
from streamrec.connectors.click_files.meaning import Meaning
from streamrec.connectors.click_files.names import Names
from streamrec.connectors.click_files.reading import ClickFiles, ReadAs
from streamrec.connectors.click_files.sorting import in_time_order
from streamrec.schemas.columns import Bytes, Numbers


def read(
    *paths: Path,
    form: FileForm | None = None,
    names: Names | None = None,
    meaning: Meaning | None = None,
    by_time: bool = False,
) -> FileClicks:
    """All clicks of the files as one batch, with all that was rejected."""
    asked = ReadAs(names or Names(), form or FileForm(), meaning or Meaning())
    read = list(ClickFiles(paths, asked).batches())
    batches = [each.batch for each in (in_time_order(iter(read)) if by_time else read)]
    unknown: dict[str, int] = {}
    for each in read:
        for name, count in each.unknown_types.items():
            unknown[name] = unknown.get(name, 0) + count
    return FileClicks(
        pa.concat_batches(batches) if batches else pa.RecordBatch.from_pylist([], SCHEMA),
        rejected=[row for each in read for row in each.rejected],
        unread=[value for each in read for value in each.unread],
        unknown_types=unknown,
    )


def guesses(*paths: Path, asked: ReadAs | None = None) -> list[str]:
    return ClickFiles(paths, asked or ReadAs()).guesses


def column(clicks: FileClicks, name: str) -> list[Any]:
    """As the codec gets it."""
    values = clicks.columns[name]
    valid = [True] * len(clicks) if values.valid is None else values.valid.tolist()
    if isinstance(values, Bytes):
        found: list[Any] = [values.bytes_at(row).decode() for row in range(len(clicks))]
    else:
        assert isinstance(values, Numbers)
        found = values.values.tolist()
    return [value if ok else None for value, ok in zip(found, valid, strict=True)]


def messages(clicks: FileClicks) -> dict[int, str]:
    """Why rows were rejected."""
    return dict(clicks.rejected)


def written(tmp_path: Path, text: str | bytes, name: str = "log.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path
