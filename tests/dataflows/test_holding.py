"""What a process holds, and lets go of when nothing refers to it any more."""

from collections.abc import Callable
from pathlib import Path

from streamrec.connectors.leases.board import FolderBoard
from streamrec.connectors.leases.holder import Claim
from streamrec.dataflows.engine.holding import Holding, folder_lease


class Interrupted(str):
    """A key that is interrupted when it is next stored, as by a finalizer."""

    by: Callable[[], None] | None = None
    looks = 0

    def __hash__(self) -> int:
        self.looks -= 1
        if self.by is not None and self.looks == 0:
            self.by()
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)


def test_lease_that_another_lets_go_of_while_it_is_taken_is_held(tmp_path: Path) -> None:
    def taken(key: str) -> Holding:
        holding = Holding()
        holding.take(key, lambda: folder_lease("it", tmp_path, Claim(0, "1", 600.0)))
        return holding

    held = [taken(str(tmp_path))]
    key = Interrupted(tmp_path)
    key.looks, key.by = 2, held.clear  # it is looked for, then stored

    second = taken(key)

    assert not held, "the first has gone meanwhile"
    assert not FolderBoard(tmp_path).read()[0].left
    second()

    del second

    assert FolderBoard(tmp_path).read()[0].left
    third = taken(str(tmp_path))
    assert not FolderBoard(tmp_path).read()[0].left
    third()
