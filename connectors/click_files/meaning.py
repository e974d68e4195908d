"""What the text in a file's columns means: prices, event types, and what a user says of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamrec.connectors.click_files.cells import sample_column
from streamrec.connectors.click_files.ids import NOTHING, is_nothing
from streamrec.connectors.click_files.rejecting import Checks
from streamrec.connectors.click_files.text import shown
from streamrec.connectors.click_files.times import TimeForm, decimals

EVENT_TYPES = ("view", "cart", "favorite", "purchase", "other")
# What others call them, in lower case and without separators; --map adds to these.
EVENT_TYPE_NAMES: dict[str, str] = {
    name: ours
    for ours, names in {
        "view": "view views pv click clicks clicked detail details viewitem viewcontent pageview "
        "itemview itemviewed viewdetail productview productviewed productclicked productdetail "
        "viewproduct selectitem selectcontent read watch play listen visit",
        "cart": "cart carts addtocart additem addtobasket basket add added cartadd itemadded "
        "productadded addproduct addedtocart",
        "favorite": "favorite favourite fav like liked wishlist addtowishlist collect save saved "
        "bookmark addtofavorites productaddedtowishlist",
        "purchase": "purchase purchases purchased buy buys bought order orders ordered "
        "ordercompleted orderplaced transaction transactions checkoutcompleted "
        "sale ecommercepurchase",
        "other": "other impression impressions removefromcart productremoved removed begincheckout "
        "checkoutstarted viewcart cartviewed removefromwishlist search refund scroll sessionstart "
        "firstvisit userengagement viewitemlist viewpromotion selectpromotion addpaymentinfo "
        "addshippinginfo viewsearchresults orderrefunded ordercancelled",
    }.items()
    for name in names.split()
}


@dataclass(frozen=True, slots=True)
class Meaning:
    """How a column's values are meant, where they do not say."""

    time: TimeForm = field(default_factory=TimeForm)
    price_scale: float | None = None  # to cents; None: 1 for a column named ...cents, else 100
    event_types: Mapping[str, str] = field(default_factory=dict)  # beside EVENT_TYPE_NAMES
    nothing: Sequence[str] = NOTHING  # text that stands for no id
    start_ms: int | None = None  # of a log without times: the first click's, then one a second
    strict: bool = False  # whether a price, category or session that cannot be read costs the row

    def event_type(self, text: str) -> str | None:
        """Ours; None: not known."""
        given = self.event_types.get(text, self.event_types.get(text.lower()))
        return given or EVENT_TYPE_NAMES.get("".join(filter(str.isalnum, text.lower())))

    def cents_of(self, name: str) -> float:
        """Factor from a column's prices to cents."""
        if self.price_scale is not None:
            return self.price_scale
        return 1.0 if name.lower().endswith("cents") else 100.0


def prices(
    column: "pa.LargeStringArray", name: str, meaning: Meaning, checks: Checks
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(n,) cents, and which are given; one that cannot be read is left out."""
    numbers = decimals(column) * meaning.cents_of(name)
    absent = pc.or_(
        pc.equal(pc.binary_length(column), 0),
        pc.is_in(column, pa.array(meaning.nothing, pa.large_string())),
    )
    given = ~np.asarray(pc.fill_null(absent, True).to_numpy(zero_copy_only=False))
    bad = given & ~((numbers >= 0) & (numbers < 2**62))
    checks.leave_out(
        name, bad, lambda row: f"{name} expected a price >= 0, got {shown(column[row].as_py())}"
    )
    given &= ~bad
    return np.rint(np.where(given, numbers, 0.0)).astype(np.int64), given


def event_types(
    column: "pa.LargeStringArray", meaning: Meaning, good: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], dict[str, int]]:
    """(n,) places in EVENT_TYPES, and the names that are not known, with the good rows of each."""
    codes = column.dictionary_encode("encode")
    indices = codes.indices.to_numpy(zero_copy_only=False)
    texts = [(text or "").strip() for text in codes.dictionary.to_pylist()]
    found = [meaning.event_type(text) for text in texts]
    by_code = np.array([EVENT_TYPES.index(symbol or "other") for symbol in found], dtype=np.int32)
    counts = np.bincount(indices[good], minlength=len(texts)).tolist()
    unknown = {
        text: count
        for text, symbol, count in zip(texts, found, counts, strict=True)
        if symbol is None and count
    }
    return by_code[indices], unknown


def has_event_type(values: Sequence[object], meaning: Meaning) -> bool:
    """Whether some value of a sample is a known type of event."""
    return any(isinstance(v, str) and meaning.event_type(v.strip()) is not None for v in values)


def has_price(values: Sequence[object], meaning: Meaning) -> bool:
    """Whether those values of a sample that are there are numbers."""
    given = [v for v in values if not is_nothing(v, meaning.nothing)]
    if not given or any(isinstance(v, bool | list | dict) for v in given):
        return False
    return bool((~np.isnan(decimals(sample_column(given)))).any())
