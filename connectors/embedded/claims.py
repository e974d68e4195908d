"""Who may write under a name, in the file itself: asked within the writer's own transaction.

So a process that was taken over while it stood still writes nothing, however late it wakes.
"""

import sqlite3
from dataclasses import dataclass, field

from streamrec.connectors.embedded.file import EmbeddedFile, explained, transaction
from streamrec.connectors.log import FencedError

_TABLE = """
CREATE TABLE IF NOT EXISTS claims (
    name TEXT NOT NULL, slot INTEGER NOT NULL, token TEXT NOT NULL, PRIMARY KEY (name, slot)
) WITHOUT ROWID
"""


@dataclass(slots=True)
class Claims:
    """What one process holds of a log: by name and slot its token."""

    file: EmbeddedFile
    held: dict[tuple[str, int], str] = field(default_factory=dict)

    def take(self, name: str, slot: int, token: str) -> None:
        """Be the one that writes, from now on: whoever was it before is shut out."""
        db = self.file.connect()
        try:
            with explained(self.file.where), transaction(db):
                db.execute(_TABLE)
                db.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", (name, slot, token))
        finally:
            db.close()
        self.held[name, slot] = token

    def check(self, db: sqlite3.Connection) -> None:
        """Within a transaction that will write. Raises FencedError."""
        for (name, slot), token in self.held.items():
            found = db.execute(
                "SELECT token FROM claims WHERE name = ? AND slot = ?", (name, slot)
            ).fetchone()
            if found is None or found[0] != token:
                raise FencedError(
                    f"{self.file.where}: {name!r}, process {slot}: another instance of this "
                    "dataflow has taken over and this one must end"
                )
