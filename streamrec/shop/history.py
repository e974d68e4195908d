"""The clicks of the simulated shop, as training sees them."""

from collections.abc import Iterator

from streamrec.connectors.log import RawBatch
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.steps.history import SCHEMA_ID, History, as_read, history_of, own_decoder
from streamrec.shop.faults import SchemaIds
from streamrec.shop.shop import Shop

SHOP_IDS = SchemaIds(clicks=SCHEMA_ID, older=SCHEMA_ID, foreign=SCHEMA_ID)


def shop_read(shop: Shop) -> Iterator[RawBatch]:
    """Simulated clicks as if read from a topic; the shop must write with `SHOP_IDS`."""
    return as_read(batch.values for batch in shop.batches())


def shop_history(shop: Shop, settings: Settings) -> History:
    """Of simulated clicks; the shop must write with `SHOP_IDS`."""
    return history_of(shop_read(shop), own_decoder(), settings)
