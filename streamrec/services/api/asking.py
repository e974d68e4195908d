"""What a request asks for besides whom or what it is about: how many, from where, without what."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from streamrec.services.http.problems import Problem

N_DEFAULT = 20
N_MAX = 200
FROM_MAX = 10_000
EXCLUDED_MAX = 1_000
ID_BYTES_MAX = 1_024
_FLAGS = {"true": True, "1": True, "": True, "false": False, "0": False}


class Asking(NamedTuple):
    """How an answer is to be."""

    n: int = N_DEFAULT
    first: int = 0  # of the whole list, what the page begins with
    exclude: frozenset[str] = frozenset()
    explain: bool = False
    seen: bool = False  # what is answered will be shown: write an impression

    @property
    def is_plain(self) -> bool:
        """Whether it asks for so many, and nothing else."""
        return not (self.first or self.exclude or self.explain or self.seen)


DOCS = {
    "n": f"how many items, 1 to {N_MAX}; {N_DEFAULT} if not said",
    "from": "how many of the list to pass over: what `next` of the page before says",
    "exclude": f"items to leave out, with commas, at most {EXCLUDED_MAX}",
    "explain": "true: say for each item why it is there",
    "seen": "true: what is answered will be shown, so that an impression is written",
}
_DEFAULT = Asking()


def asking_of(query: Mapping[str, str]) -> Asking:
    """Of the fields of a query. Raises Problem (422)."""
    if not query:
        return _DEFAULT
    text = query.get("exclude")
    return Asking(
        n=_whole(query, "n", 1, N_MAX, N_DEFAULT),
        first=_whole(query, "from", 0, FROM_MAX, 0),
        exclude=_DEFAULT.exclude if not text else _excluded(text.split(",")),
        explain=_flag(query, "explain"),
        seen=_flag(query, "seen"),
    )


def asking_of_body(body: Mapping[str, Any]) -> Asking:
    """The same of the fields of an object. Raises Problem (422)."""
    exclude = body.get("exclude", [])
    if not isinstance(exclude, list) or not all(isinstance(item, str) for item in exclude):
        raise Problem(422, "field exclude expected a list of item ids", field="exclude")
    return Asking(
        n=_number(body, "n", 1, N_MAX, N_DEFAULT),
        first=_number(body, "from", 0, FROM_MAX, 0),
        exclude=_excluded(exclude),
        explain=_bool(body, "explain"),
        seen=_bool(body, "seen"),
    )


def checked_id(value: Any, field: str) -> str:
    """An id of an item or a user. Raises Problem (422)."""
    if not isinstance(value, str) or not 1 <= len(value.encode("utf-8", "replace")) <= ID_BYTES_MAX:
        raise Problem(
            422, f"field {field} expected a text of 1 to {ID_BYTES_MAX} bytes", field=field
        )
    return value


def _excluded(items: Sequence[str]) -> frozenset[str]:
    if len(items) > EXCLUDED_MAX:
        raise Problem(
            422,
            f"field exclude expected at most {EXCLUDED_MAX} items, got {len(items)}",
            field="exclude",
        )
    return frozenset(items)


def _whole(query: Mapping[str, str], name: str, least: int, most: int, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise _misfit(name, f"a number from {least} to {most}", text)
    return _in_range(int(text), name, least, most)


def _number(body: Mapping[str, Any], name: str, least: int, most: int, default: int) -> int:
    value = body.get(name, default)
    if type(value) is not int:
        raise _misfit(name, f"a number from {least} to {most}", value)
    return _in_range(value, name, least, most)


def _in_range(value: int, name: str, least: int, most: int) -> int:
    if not least <= value <= most:
        raise _misfit(name, f"a number from {least} to {most}", value)
    return value


def _flag(query: Mapping[str, str], name: str) -> bool:
    text = query.get(name, "false")
    if text not in _FLAGS:
        raise _misfit(name, "true or false", text)
    return _FLAGS[text]


def _bool(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if type(value) is not bool:
        raise _misfit(name, "true or false", value)
    return value


def _misfit(name: str, expected: str, got: Any) -> Problem:
    shown = repr(got)
    shown = shown if len(shown) <= 40 else f"{shown[:37]}..."
    return Problem(422, f"field {name} expected {expected}, got {shown}", field=name)


__all__ = ["DOCS", "N_DEFAULT", "N_MAX", "Asking", "asking_of", "asking_of_body", "checked_id"]
