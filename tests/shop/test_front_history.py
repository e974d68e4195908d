"""The visits that the page's shop begins with."""

from itertools import pairwise

from streamrec.dataflows.job.topics import CLICKS
from streamrec.schemas.json_codec import JsonEncoder
from streamrec.shop.front.history import visits
from streamrec.shop.front.products import PRODUCTS

END_MS = 1_767_225_600_000


def test_visits_are_clicks_on_what_is_sold_in_order_up_to_the_end() -> None:
    clicks = list(visits(200, END_MS))
    encode = JsonEncoder(CLICKS.schema, 1).encode
    assert all(encode(click) for click in clicks)
    assert {click["item_id"] for click in clicks} <= {product.item_id for product in PRODUCTS}
    assert all(a["timestamp"] <= b["timestamp"] for a, b in pairwise(clicks))
    assert clicks[-1]["timestamp"] == END_MS - 1_000
    assert len({click["user_id"] for click in clicks}) == 200
    assert clicks == list(visits(200, END_MS))


def test_products_have_ids_of_their_own() -> None:
    assert len({product.item_id for product in PRODUCTS}) == len(PRODUCTS)
