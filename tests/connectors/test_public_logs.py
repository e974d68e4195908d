"""The layouts of public click logs, as samples of a few made rows: read with no option, or one.

Names, order and kind of the columns are those of the published files; the values are made.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from streamrec.connectors.click_files.forms import FileForm
from streamrec.connectors.click_files.names import Names
from tests.connectors.click_files import column, messages, read, written

VIEW, CART, FAVORITE, PURCHASE, OTHER = range(5)


@dataclass(frozen=True)
class Layout:
    """A log and what it says."""

    file: str
    text: str
    clicks: list[tuple[str, str, int, int]]  # user, item, event type, Unix milliseconds
    form: FileForm = field(default_factory=FileForm)
    names: Names = field(default_factory=Names)
    more: dict[str, list[Any]] = field(default_factory=dict)  # other columns
    rejected: dict[int, str] = field(default_factory=dict)


def json_lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


OTTO = {
    "session": 12899779,
    "events": [
        {"aid": 59625, "ts": 1661724000278, "type": "clicks"},
        {"aid": 1142000, "ts": 1661724000378, "type": "carts"},
        {"aid": 1142000, "ts": 1661724000478, "type": "orders"},
    ],
}
GA4 = {
    "event_date": "20210131",
    "event_timestamp": "1612069510766593",
    "event_name": "add_to_cart",
    "event_params": [
        {"key": "ga_session_id", "value": {"string_value": None, "int_value": "661084800"}},
        {"key": "page_title", "value": {"string_value": "Home", "int_value": None}},
    ],
    "user_id": None,
    "user_pseudo_id": "1026454.4271112504",
    "device": {"category": "mobile"},
    "items": [
        {"item_id": "GGOEGAAX0104", "item_name": "Tee", "item_category": "Shirts", "price": 29.0},
        {"item_id": "GGOEGAAX0105", "item_name": "Cap", "item_category": "Hats", "price": 9.5},
    ],
}
SEGMENT = {
    "type": "track",
    "event": "Product Viewed",
    "anonymousId": "507f191e810c19729de860ea",
    "userId": None,
    "messageId": "m-1",
    "context": {"page": {"path": "/"}, "device": {"type": "ios"}},
    "properties": {"product_id": "507f1f77", "price": 18.99, "category": "Games", "sku": "G-32"},
    "sentAt": "2019-10-01T00:00:09.000Z",
    "timestamp": "2019-10-01T00:00:01.250Z",
}
AMAZON = {
    "rating": 5.0, "title": "Good", "text": "It works", "images": [], "asin": "B00YQ6X8EO",
    "parent_asin": "B00YQ6X8EP", "user_id": "AGKHLEW2SOWHNMFQIJGBECAF7INQ",
    "timestamp": 1588687728923, "helpful_vote": 0, "verified_purchase": True,
}  # fmt: skip

LAYOUTS = {
    "REES46, multi-category shop": Layout(
        "2019-Oct.csv",
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,"
        "user_session\n"
        "2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,a-1\n"
        "2019-10-01 00:00:01 UTC,remove_from_cart,3900821,2053013552326770905,"
        "appliances.environment.water_heater,aqua,33.20,554748717,b-2\n",
        [
            ("541312140", "44600062", VIEW, 1569888000000),
            ("554748717", "3900821", OTHER, 1569888001000),
        ],
        more={
            "price_cents": [3579, 3320],
            "session_id": ["a-1", "b-2"],
            "category_id": ["2103807459595387724", "2053013552326770905"],
        },
    ),
    "YOOCHOOSE, clicks": Layout(
        "yoochoose-clicks.dat",
        "1,2014-04-07T10:51:09.277Z,214536502,0\n1,2014-04-07T10:54:09.868Z,214536500,S\n",
        [("1", "214536502", VIEW, 1396867869277), ("1", "214536500", VIEW, 1396868049868)],
        FileForm(columns=["session", "timestamp", "item", "category"]),
        more={"session_id": ["1", "1"], "category_id": ["0", "S"]},
    ),
    "Taobao, UserBehavior": Layout(
        "UserBehavior.csv",
        "1,2268318,2520377,pv,1511544070\n1,2333346,2520771,fav,1511561733\n"
        "1,2576651,149192,buy,1511572885\n",
        [
            ("1", "2268318", VIEW, 1511544070000),
            ("1", "2333346", FAVORITE, 1511561733000),
            ("1", "2576651", PURCHASE, 1511572885000),
        ],
        FileForm(columns=["user_id", "item_id", "category_id", "behavior_type", "timestamp"]),
        more={"category_id": ["2520377", "2520771", "149192"]},
    ),
    "RetailRocket, events": Layout(
        "events.csv",
        "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"
        "1433221332118,992329,addtocart,248676,\n1433221332119,992329,transaction,248676,4000\n",
        [
            ("257597", "355908", VIEW, 1433221332117),
            ("992329", "248676", CART, 1433221332118),
            ("992329", "248676", PURCHASE, 1433221332119),
        ],
    ),
    "MovieLens, ratings.csv": Layout(
        "ratings.csv",
        "userId,movieId,rating,timestamp\n1,296,5.0,1147880044\n1,306,3.5,789652009\n",
        [("1", "296", VIEW, 1147880044000), ("1", "306", VIEW, 789652009000)],
    ),
    "MovieLens 1M, ratings.dat": Layout(
        "ratings.dat",
        "1::1193::5::978300760\n1::661::3::978302109\n",
        [("1", "1193", VIEW, 978300760000), ("1", "661", VIEW, 978302109000)],
        FileForm(columns=["user", "item", "rating", "timestamp"]),
    ),
    "Amazon, reviews of 2023": Layout(
        "All_Beauty.jsonl",
        json_lines(AMAZON),
        [("AGKHLEW2SOWHNMFQIJGBECAF7INQ", "B00YQ6X8EO", VIEW, 1588687728923)],
    ),
    "Amazon, reviews of 2018": Layout(
        "reviews.json",
        json_lines(
            {
                "overall": 5.0, "reviewTime": "09 13, 2009", "reviewerID": "A2SUAM1J3GNN3B",
                "asin": "0000013714", "unixReviewTime": 1252800000,
            }
        ),
        [("A2SUAM1J3GNN3B", "0000013714", VIEW, 1252800000000)],
    ),
    "H&M, transactions": Layout(
        "transactions_train.csv",
        "t_dat,customer_id,article_id,price,sales_channel_id\n"
        "2018-09-20,000058a12d5b43e6,0663713001,0.0508305084745762,2\n",
        [("000058a12d5b43e6", "0663713001", VIEW, 1537401600000)],
        more={"price_cents": [5]},
    ),
    "OTTO, sessions": Layout(
        "otto-recsys-train.jsonl",
        json_lines(OTTO),
        [
            ("12899779", "59625", VIEW, 1661724000278),
            ("12899779", "1142000", CART, 1661724000378),
            ("12899779", "1142000", PURCHASE, 1661724000478),
        ],
        more={"session_id": ["12899779"] * 3},
    ),
    "Google Analytics 4, export": Layout(
        "events_20210131.json",
        json_lines(GA4, {**GA4, "event_name": "page_view", "items": []}),
        [
            ("1026454.4271112504", "GGOEGAAX0104", CART, 1612069510767),
            ("1026454.4271112504", "GGOEGAAX0105", CART, 1612069510767),
        ],
        more={
            "price_cents": [2900, 950],
            "category_id": ["Shirts", "Hats"],
            "session_id": ["661084800", "661084800"],
        },
        rejected={2: "items[] expected a list of events, got []"},
    ),
    "Segment, track": Layout(
        "track.json",
        json_lines(SEGMENT, {**SEGMENT, "event": "Order Completed"}),
        [
            ("507f191e810c19729de860ea", "507f1f77", VIEW, 1569888001250),
            ("507f191e810c19729de860ea", "507f1f77", PURCHASE, 1569888001250),
        ],
        more={"price_cents": [1899, 1899], "category_id": ["Games", "Games"]},
    ),
    "Globo, clicks by hour": Layout(
        "clicks_hour_000.csv",
        "user_id,session_id,session_start,session_size,click_article_id,click_timestamp,"
        "click_environment,click_deviceGroup\n"
        "0,1506825423271737,1506825423000,2,119592,1506826828020,4,3\n",
        [("0", "119592", VIEW, 1506826828020)],
        more={"session_id": ["1506825423271737"]},
    ),
    "Adressa, events": Layout(
        "20170101.json",
        json_lines(
            {
                "eventId": 641355, "userId": "cx:i8i85z793m9j4yy0", "time": 1483225200,
                "activeTime": 20, "id": "8bb8daa3a31f7b0c", "url": "http://adressa.no/100",
            }
        ),
        [("cx:i8i85z793m9j4yy0", "8bb8daa3a31f7b0c", VIEW, 1483225200000)],
        names=Names(item="id"),
    ),
    "Diginetica, item views": Layout(
        "train-item-views.csv",
        "sessionId;userId;itemId;timeframe;eventdate\n1;NA;81766;526309;2016-05-09\n"
        "1;NA;31331;1031018;2016-05-09\n",
        [("1", "81766", VIEW, 1462752000000), ("1", "31331", VIEW, 1462752000000)],
        more={"session_id": ["1", "1"]},
    ),
    "LastFM, 1K users": Layout(
        "userid-timestamp-artid-artname-traid-traname.tsv",
        "user_000001\t2009-05-04T23:08:57Z\tf1b1cf71\tDeep Dish\t\tPacha Ibiza\n",
        [("user_000001", "f1b1cf71", VIEW, 1241478537000)],
        FileForm(columns=["userid", "timestamp", "artid", "artname", "traid", "traname"]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_public_log_is_read_with_no_option_or_one(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    assert (layout.form != FileForm()) + (layout.names != Names()) <= 1
    clicks = read(written(tmp_path, layout.text, layout.file), form=layout.form, names=layout.names)
    found = zip(
        *(column(clicks, each) for each in ("user_id", "item_id", "event_type", "timestamp")),
        strict=True,
    )
    assert list(found) == layout.clicks
    assert messages(clicks) == layout.rejected
    assert clicks.unknown_types == {}
    for optional in ("price_cents", "category_id", "session_id"):
        nothing = [None] * len(clicks)
        assert column(clicks, optional) == layout.more.get(optional, nothing), optional
