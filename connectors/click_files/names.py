"""Which column of a file holds what."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

from streamrec.connectors.click_files.rejecting import ClickFileError


@dataclass(frozen=True, slots=True)
class Names:
    """Which column holds what; None: none does."""

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


# Common names, in lower case and without separators; the first that a file has is taken.
_COMMON_NAMES: dict[str, tuple[str, ...]] = {
    "user": ("userid", "user", "visitorid", "customerid", "uid", "memberid", "clientid"),
    "item": ("itemid", "item", "productid", "product", "articleid", "sku", "contentid", "iid"),
    "time": ("timestamp", "timestamps", "timestampms", "time", "eventtime", "ts", "datetime",
             "timems", "unixtime", "eventdate", "date"),
    "type": ("eventtype", "event", "behavior", "behaviour", "behaviortype", "action", "type"),
    "price": ("price", "pricecents"),
    "category": ("categoryid", "category", "categorycode", "cat", "catid"),
    "session": ("sessionid", "session", "usersession", "sid"),
}  # fmt: skip


def name_columns(found: Sequence[str], given: Names) -> Names:
    """Fill in what was not given from common names. A log of sessions alone has each session for a
    user of its own. Raises ClickFileError."""
    plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(found)}
    chosen: dict[str, str | None] = {}
    for role, common in _COMMON_NAMES.items():
        name = getattr(given, role)
        if name is not None and name not in found:
            raise ClickFileError(
                f"--{role} expected one of the columns {list(found)}, got {name!r}"
            )
        chosen[role] = name or next((plain[c] for c in common if c in plain), None)
    if chosen["user"] is None:
        chosen["user"] = chosen["session"]
    for role in ("user", "item", "time"):
        if chosen[role] is None:
            hint = "--user or --session" if role == "user" else f"--{role}"
            raise ClickFileError(
                f"expected a column for the {role}, got columns {list(found)}; name it by {hint}, "
                "or the columns of a file without a header by --columns"
            )
    return Names(**chosen)
