"""What a user is told of rows of files that are no clicks, and of values that could not be read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streamrec.program.shared import say as say_to_user

if TYPE_CHECKING:
    from streamrec.connectors.click_files.clicks import FileClicks
    from streamrec.connectors.click_files.rejecting import Rejected, Unread

_SHOWN_MAX = 20
_TYPES_SHOWN_MAX = 20


@dataclass(slots=True)
class _Repeated:
    """How often something was found, and where first."""

    first: str
    count: int = 0


class RejectedRows:
    """Names the first row that is rejected for each reason, and in the end says how many there
    were; can write down all."""

    def __init__(
        self,
        several_files: bool,
        path: Path | None = None,
        *,
        can_list: bool = False,
        say: Callable[[str], None] = say_to_user,
    ) -> None:
        self.count = 0
        self.first: list[str] = []  # of each reason, as it was said
        self.say = say
        self._can_list = can_list  # whether the command has the option
        self._several = several_files
        self._file = (
            None if path is None else path.open("w", encoding="utf-8", errors="backslashreplace")
        )
        self._reasons: dict[str, _Repeated] = {}
        self._unread: dict[str, _Repeated] = {}  # by column
        self._unknown: dict[str, int] = {}
        self._unknown_rows = 0  # of names that are not counted

    def passing(self, batches: "Iterator[FileClicks]") -> "Iterator[FileClicks]":
        """The same batches, told on the way."""
        for batch in batches:
            self.add(batch.file, batch.rejected, batch.unread)
            self._add_types(batch.unknown_types)
            yield batch

    def add(
        self, file: str, rejected: "Sequence[Rejected]", unread: "Sequence[Unread]" = ()
    ) -> None:
        for row, message in rejected:
            place = self._place(file, row)
            if self._file is not None:
                self._file.write(f"{place}: {message}\n")
            self.count += 1
            # What was expected is the reason; what stood there differs from row to row.
            reason = message.partition(", got ")[0]
            found = self._reasons.get(reason)
            if found is None and len(self._reasons) < _SHOWN_MAX:
                found = self._reasons[reason] = _Repeated(place)
                self.first.append(f"{place}: {message}")
                self.say(self.first[-1])
            if found is not None:
                found.count += 1
        for row, column, message in unread:
            first = f"{self._place(file, row)}: {message}"
            self._unread.setdefault(column, _Repeated(first)).count += 1

    def close(self) -> None:
        """Say how many rows there were."""
        hint = "; --rejects FILE lists all" if self._can_list and self._file is None else ""
        if self._file is not None:
            self._file.close()
        for reason, found in self._reasons.items():
            if found.count > 1:
                self.say(f"{found.count:,} rows rejected, the first {found.first}: {reason}{hint}")
        others = self.count - sum(found.count for found in self._reasons.values())
        if others:
            self.say(f"and {others:,} more rows rejected for other reasons{hint}")
        for column, found in self._unread.items():
            self.say(
                f"{column} could not be read in {found.count:,} rows, which are kept without it; "
                f"--strict rejects them; the first {found.first}"
            )
        for name, count in self._unknown.items():
            self.say(f"event type {name!r} taken as other in {count:,} rows; see --map")
        if self._unknown_rows:
            self.say(f"and other event types in {self._unknown_rows:,} rows")

    def _place(self, file: str, row: int) -> str:
        return f"{file} line {row}" if self._several else f"line {row}"

    def _add_types(self, unknown: dict[str, int]) -> None:
        for name, count in unknown.items():
            if name in self._unknown or len(self._unknown) < _TYPES_SHOWN_MAX:
                self._unknown[name] = self._unknown.get(name, 0) + count
            else:
                self._unknown_rows += count
