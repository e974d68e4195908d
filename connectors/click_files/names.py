"""Which column of a file holds what: as told, else by common names, where a sample agrees."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

from streamrec.connectors.click_files.cells import Sample
from streamrec.connectors.click_files.paths import LINE, parse_path
from streamrec.connectors.click_files.rejecting import UnclearError


@dataclass(frozen=True, slots=True)
class Names:
    """Which column, or path, holds what; None: none does."""

    user: str | None = None
    item: str | None = None
    time: str | None = None
    type: str | None = None
    price: str | None = None
    category: str | None = None
    session: str | None = None

    def __str__(self) -> str:
        pairs = ((f.name, getattr(self, f.name)) for f in fields(self))
        return ", ".join(f"{role} from {name}" for role, name in pairs if name is not None)

    @property
    def chosen(self) -> dict[str, str]:
        """By role."""
        pairs = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {role: name for role, name in pairs if name is not None}


# Common names, in lower case and without separators; the first that a file has, and whose values
# can be meant, is taken. The item first: where it stands in a list of events, the others may too.
_COMMON_NAMES: dict[str, tuple[str, ...]] = {
    "item": ("itemid", "item", "productid", "product", "articleid", "clickarticleid", "newsid",
             "movieid", "trackid", "songid", "artistid", "bookid", "isbn", "sku", "asin",
             "parentasin", "contentid", "aid", "iid", "artid"),
    "user": ("userid", "user", "visitorid", "customerid", "userpseudoid", "anonymousid",
             "reviewerid", "memberid", "clientid", "fullvisitorid", "uid"),
    "time": ("timestamp", "timestamps", "timestampms", "time", "eventtime", "eventtimestamp",
             "clicktimestamp", "unixreviewtime", "ts", "datetime", "timems", "unixtime",
             "createdat", "tdat", "eventdate", "date"),
    "type": ("eventtype", "event", "eventname", "behavior", "behaviour", "behaviortype", "action",
             "type"),
    "price": ("price", "pricecents"),
    "category": ("categoryid", "category", "categorycode", "itemcategory", "cat", "catid"),
    "session": ("sessionid", "session", "usersession", "gasessionid", "sid"),
}  # fmt: skip

# Whether a column can be meant for a role: 0 no, 1 by few of its values, 2 by most of them.
CanBe = Callable[[str, str, Sequence[object]], int]

_OF_THE_ITEM = ("price", "category")  # must stand beside it
_OF_THE_EVENT = ("time", "type", *_OF_THE_ITEM)  # stand in the list of events, if anything does


def name_columns(
    sample: Sample, given: Names, can_be: CanBe, *, times: bool = True
) -> tuple[Names, list[str]]:
    """Fill in what was not given, and say what was left out and why. A log of sessions alone has
    each session for a user of its own. Without `times` none is needed.

    Raises UnclearError where a name is missing, or more than one could be meant.
    """
    search = _Search(sample, can_be)
    chosen: dict[str, str | None] = {}
    for role in _COMMON_NAMES:
        name = getattr(given, role)
        if name is not None:
            _check_given(role, name, sample)
        chosen[role] = name or search.find(role)
        if role == "item":
            search.item = chosen[role]
    if chosen["user"] is None:
        chosen["user"] = chosen["session"] or search.find("user", enough=1)
    for name in filter(None, chosen.values()):
        if name in sample.repeated:
            raise UnclearError(
                f"expected each column once, got {name!r} again; name all columns by --columns"
            )
    _check_complete(chosen, sample, times)
    return Names(**chosen), search.notes


class _Search:
    """Looks for the columns that were not named."""

    def __init__(self, sample: Sample, can_be: CanBe) -> None:
        self._sample = sample
        self._can_be = can_be
        self._paths: dict[str, list[str]] = {}  # by plain name
        for path in sample.paths:
            self._paths.setdefault(_plain(path), []).append(path)
        self.item: str | None = None
        self.notes: list[str] = []

    def find(self, role: str, enough: int | None = None) -> str | None:
        """The one column for a role, if there is one. Raises UnclearError."""
        if LINE in self._sample.values:
            return {"item": "[]", "user": LINE}.get(role)
        if enough is None:
            enough = 2 if role == "user" else 1
        events = None if self.item is None else _list_of(self.item)
        if events is not None and role in _OF_THE_EVENT:
            found = self._among(role, enough, lambda path: _list_of(path) == events)
            if found is not None or role in _OF_THE_ITEM:
                return found
        if role in _OF_THE_ITEM and self.item is not None:
            beside = _parent(self.item)
            return self._among(role, enough, lambda path: _parent(path) == beside)
        return self._among(
            role, enough, lambda path: role == "item" or _list_of(path) in (None, events)
        )

    def _among(self, role: str, enough: int, may_be: Callable[[str], bool]) -> str | None:
        for each in _COMMON_NAMES[role]:
            paths = list(filter(may_be, self._paths.get(each, ())))
            fitting = [p for p in paths if self._fits(role, p) >= enough]
            if not fitting:
                self.notes += [
                    f"{path} is not taken for the {role}: {_held(self._sample, path)}"
                    for path in paths
                ]
                continue
            depth = min(map(_depth, fitting))
            nearest = [path for path in fitting if _depth(path) == depth]
            if len(nearest) > 1:
                raise UnclearError(
                    f"expected one column for the {role}, got {nearest}; name one by --{role}"
                )
            return nearest[0]
        return None

    def _fits(self, role: str, path: str) -> int:
        return self._can_be(role, path, self._sample.values[path])


def _check_given(role: str, name: str, sample: Sample) -> None:
    if name in sample.values:
        return
    if sample.open_ended and name:
        parse_path(name)
        if re.match(r"[^.\[\]]*", name)[0] in {re.match(r"[^.\[\]]*", p)[0] for p in sample.paths}:  # type: ignore[index]  # it matches anything
            return
    raise UnclearError(f"--{role} expected one of the columns {sample.paths[:40]}, got {name!r}")


def _check_complete(chosen: Mapping[str, str | None], sample: Sample, times: bool) -> None:
    for role in ("user", "item", "time"):
        if chosen[role] is not None or (role == "time" and not times):
            continue
        hint = "--user or --session" if role == "user" else f"--{role}"
        said = (
            f"expected a column for the {role}, got columns {sample.paths[:40]}; name it by {hint}"
        )
        if any(re.fullmatch(r"\d+", path) for path in sample.paths):
            said += ", or, since the first line seems to hold values, name all columns by --columns"
        elif role == "time":
            said += ", or give a log without times its beginning by --start"
        else:
            said += ", or the columns of a file without a header by --columns"
        raise UnclearError(said)


def _held(sample: Sample, path: str) -> str:
    values = [value for value in sample.values[path] if value not in (None, "")]
    if not values:
        return "it is empty at the file's beginning"
    shown = list(dict.fromkeys(repr(value)[:30] for value in values[:200]))
    return f"it holds {', '.join(shown[:3])}" + (" and others" if len(shown) > 3 else "")


def _plain(path: str) -> str:
    if key := re.search(r"\[key=([^\]]*)\]\.value\.\w+$", path):
        path = key[1]
    return re.sub(r"[^a-z0-9]", "", path.rpartition(".")[2].lower())


def _depth(path: str) -> int:
    return path.count(".") + path.count("[")


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _list_of(path: str) -> str | None:
    before, brackets, _ = path.partition("[]")
    return before + brackets if brackets else None
