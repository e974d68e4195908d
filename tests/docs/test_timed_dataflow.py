"""docs/timed-dataflow.md, followed word by word."""

import json
import shlex
from pathlib import Path
from typing import Any

from tests.docs.pages import Reader, assert_test_passes_and_can_fail, blocks

PAGE = "timed-dataflow.md"
LINES_MAX = 60
HOUR_MS = 3_600_000
START_MS = 1_767_225_600_000


def write_files(reader: Reader) -> None:
    (schema, of_values), (module, test, values) = blocks(PAGE, "json"), blocks(PAGE, "python")
    (reader.folder / "order_values.avsc").write_text(of_values, encoding="utf-8")
    (reader.folder / "order_values.py").write_text(values, encoding="utf-8")
    (reader.folder / "reminders.avsc").write_text(schema, encoding="utf-8")
    (reader.folder / "reminders.py").write_text(module, encoding="utf-8")
    (reader.folder / "test_reminders.py").write_text(test, encoding="utf-8")


def lines(*records: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(record)}\n" for record in records)


def test_the_module_fits_on_a_screen() -> None:
    for module in blocks(PAGE, "python"):
        assert len(module.splitlines()) <= LINES_MAX


def test_the_test_of_the_page_passes_and_can_fail(tmp_path: Path) -> None:
    reader = Reader(tmp_path, {})
    write_files(reader)
    harm = ('        self.cancel(record.key, "remind")\n', "")
    assert_test_passes_and_can_fail(reader, "reminders", harm, "AssertionError")


def test_baskets_are_reminded_of_once_and_a_replay_says_the_same(reader: Reader) -> None:
    write_files(reader)
    create, to_baskets, to_orders, run, receive, replay = (
        shlex.split(line.partition("<")[0], comments=True)
        for line in blocks(PAGE, "sh")[0].splitlines()
    )
    names = {
        name: reader.environment[f"STREAMREC_{name.upper()}_TOPIC"]
        for name in ("baskets", "orders", "reminders", "errors", "ticks")
    }
    assert (to_baskets[2], to_orders[2], receive[2]) == ("baskets", "orders", "reminders")
    made = reader.run(*create).stdout
    assert all(name in made for name in names.values())
    users = [f"u{number}" for number in range(30)]
    hours = [(0, users), (3, users), (9, users)]  # what comes later ends the delays of what was
    baskets = [
        {"user_id": user, "basket": f"{user} {hour}", "at": START_MS + hour * HOUR_MS}
        for hour, whose in hours
        for user in whose
    ]
    orders = [{"user_id": user, "at": START_MS + HOUR_MS // 2} for user in users[::3]]
    orders += [{"user_id": "u1", "at": START_MS + HOUR_MS}]  # in the same moment, and before it
    orders += [{"user_id": "u0", "at": START_MS - 1}, {"user_id": "u4", "at": "noon"}]
    reader.run("streamrec", "send", names["baskets"], *to_baskets[3:], given=lines(*baskets))
    reader.run("streamrec", "send", names["orders"], *to_orders[3:], given=lines(*orders))
    for _ in range(2):  # the second finds nothing to do
        reader.run(*run, STREAMREC_FOLLOW="false")

    found = received(reader, names["reminders"])
    said = sorted((each["kind"], each["basket"], each["number"]) for each in found)
    ordered = {*users[::3], "u1"}
    reminded = [("remind", f"{user} 0", 0) for user in users if user not in ordered]
    reminded += [("remind", f"{user} 3", 0) for user in users]
    assert said == sorted([("ordered", f"{user} 0", 0) for user in ordered] + reminded)
    (error,) = received(reader, names["errors"])
    assert (error["reason"], error["topic"]) == ("invalid_value", names["orders"])

    again = {"STREAMREC_REMINDERS_TOPIC": f"{names['reminders']}-v2"}
    reader.run(*replay)
    replayed = received(reader, again["STREAMREC_REMINDERS_TOPIC"])
    assert by_place(replayed) == by_place(found)


def test_orders_are_worth_what_the_table_said_at_their_tick(reader: Reader) -> None:
    write_files(reader)
    create, to_prices, to_orders, run, receive, replay = (
        shlex.split(line.partition("<")[0]) for line in blocks(PAGE, "sh")[1].splitlines()
    )
    names = {
        name: reader.environment[f"STREAMREC_{name.upper()}_TOPIC"]
        for name in ("prices", "orders", "order_values", "ticks")
    }
    assert (to_prices[2], to_orders[2], receive[2]) == ("prices", "orders", "order-values")
    made = reader.run(*create).stdout
    assert all(name in made for name in names.values())

    def send_prices(*cents: int) -> None:
        prices = [{"item_id": f"i{number}", "cents": each} for number, each in enumerate(cents)]
        reader.run("streamrec", "send", names["prices"], *to_prices[3:], given=lines(*prices))

    def send_orders(hour: int) -> None:
        """Of one moment, and others of an hour later that end their delay in every shard."""
        orders = [
            {"user_id": f"u{n}", "item_id": item, "at": START_MS + at * HOUR_MS}
            for n in range(12)
            for item, at in ((f"i{n % 3}", hour), ("i1", hour + 1))
        ]
        reader.run("streamrec", "send", names["orders"], *to_orders[3:], given=lines(*orders))

    for hour, cents in ((0, (100, 200)), (5, (300, 200, 7))):
        send_prices(*cents)
        send_orders(hour)
        reader.run(*run, STREAMREC_FOLLOW="false")
    found = received(reader, names["order_values"])
    versions = sorted({tuple(row["prices"]) for row in found}, key=sum)
    assert [sum(version) for version in versions] == [2, 5]
    first, second = (
        sorted(row["cents"] or 0 for row in found if tuple(row["prices"]) == version)
        for version in versions
    )
    assert first == [0] * 4 + [100] * 4 + [200] * 4
    assert second == [7] * 4 + [200] * (4 + 12) + [300] * 4  # and those that ended the delay

    send_prices(1, 1, 1)
    reader.run(*replay)
    again = received(reader, f"{names['order_values']}-v2")
    # Its last tick, which covers the newest prices, may call orders that still waited.
    assert all(row in again for row in found)
    assert len(again) <= len(found) + 12


def by_place(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted(tuple(sorted(each.items())) for each in found)


def received(reader: Reader, topic: str) -> list[dict[str, Any]]:
    out = reader.run("streamrec", "receive", topic).stdout.split("\n")[:-1]
    return [json.loads(line) for line in out]
