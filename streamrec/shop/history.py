"""The clicks of the simulated shop, as training sees them."""

from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.steps.history import SCHEMA_ID, History, as_read, history_of, own_decoder
from streamrec.shop.faults import SchemaIds
from streamrec.shop.shop import Shop

SHOP_IDS = SchemaIds(clicks=SCHEMA_ID, older=SCHEMA_ID, foreign=SCHEMA_ID)


def shop_history(shop: Shop, settings: Settings) -> History:
    """Of simulated clicks; the shop must write with `SHOP_IDS`."""
    raw = as_read(list(batch.values) for batch in shop.batches())
    return history_of(raw, own_decoder(), settings)
