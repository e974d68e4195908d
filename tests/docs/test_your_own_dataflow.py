"""docs/your-own-dataflow.md, followed word by word, with kills."""

import json
import shlex
import signal
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.docs.pages import Reader, assert_test_passes_and_can_fail, blocks

PAGE = "your-own-dataflow.md"
LINES_MAX = 60
START_MS = 1_767_225_600_000
Place = tuple[int, int]


def write_files(reader: Reader) -> None:
    (schema, of_sales), (module, test, sales, goals) = blocks(PAGE, "json"), blocks(PAGE, "python")
    (reader.folder / "sales.avsc").write_text(of_sales, encoding="utf-8")
    (reader.folder / "sales.py").write_text(sales, encoding="utf-8")
    (reader.folder / "goals.py").write_text(goals, encoding="utf-8")
    (reader.folder / "cart_counts.avsc").write_text(schema, encoding="utf-8")
    (reader.folder / "carts.py").write_text(module, encoding="utf-8")
    (reader.folder / "test_carts.py").write_text(test, encoding="utf-8")


def commands(block: int = 0) -> list[list[str]]:
    return [shlex.split(line, comments=True) for line in blocks(PAGE, "sh")[block].splitlines()]


def clicks(first: int, n: int) -> str:
    """Lines of JSON: carts by fifty users, and now and then a purchase, most without a price."""
    lines = []
    for number in range(first, first + n):
        click: dict[str, Any] = {
            "user_id": f"u{number * 7 % 50}",
            "item_id": f"i{number % 9}",
            "event_type": "purchase" if number % 10 == 3 else "cart",
            "timestamp": START_MS + number * 100,
        }
        if number % 100 == 3:
            click["price_cents"] = 999
        lines.append(json.dumps(click))
    return "\n".join(lines) + "\n"


def received(reader: Reader, topic: str) -> list[dict[str, Any]]:
    lines = reader.run("streamrec", "receive", topic).stdout.split("\n")[:-1]
    return [json.loads(line) for line in lines]


def expected(sent: list[dict[str, Any]]) -> tuple[dict[Place, tuple[str, int]], set[Place]]:
    """A plain recount: the answer to each click, and which clicks fail."""
    answers: dict[Place, tuple[str, int]] = {}
    failed: set[Place] = set()
    carts: dict[str, int] = defaultdict(int)
    for record in sorted(sent, key=lambda each: (each["partition"], each["offset"])):
        click, place = record["value"], (record["partition"], record["offset"])
        if click["event_type"] == "purchase" and click["price_cents"] is None:
            failed.add(place)
            continue
        carts[click["user_id"]] += click["event_type"] == "cart"
        answers[place] = click["user_id"], carts[click["user_id"]]
    return answers, failed


def test_the_module_fits_on_a_screen() -> None:
    for module in blocks(PAGE, "python"):
        assert len(module.splitlines()) <= LINES_MAX


def test_the_test_of_the_page_passes_and_can_fail(tmp_path: Path) -> None:
    reader = Reader(tmp_path, {})
    write_files(reader)
    harm = ('== "cart")', '== "view")')
    assert_test_passes_and_can_fail(
        reader, "carts", harm, "assert [(0, 0), (2, 0)] == [(0, 1), (2, 2)]"
    )


def test_every_click_is_answered_once_also_over_kills(reader: Reader) -> None:
    write_files(reader)
    describe, create, run, receive = commands()
    assert "Source: clicks" in reader.run(*describe).stdout
    made = reader.run(*create).stdout
    assert "cart" in made and "errors" in made
    topics = {n: reader.environment[f"STREAMREC_{n.upper()}_TOPIC"] for n in ("clicks", "errors")}
    counts_topic = reader.environment["STREAMREC_CART_COUNTS_TOPIC"]
    assert receive[2] == "cart-counts", "the page names the topic; the test calls it otherwise"
    run[run.index("-s") + 1] = "1"

    sent = 0
    for _ in range(2):
        process = reader.start(*run)
        try:
            until = time.monotonic() + 40
            answered = reader.count(counts_topic)
            while reader.count(counts_topic) == answered:
                reader.run("streamrec", "send", topics["clicks"], given=clicks(sent, 300))
                sent += 300
                assert time.monotonic() < until, (reader.folder / "out.log").read_text()
                assert process.poll() is None, (reader.folder / "out.log").read_text()
            time.sleep(1.2)  # so that a snapshot may lie before some of it
        finally:
            process.kill()
            assert process.wait() == -signal.SIGKILL
    reader.run("streamrec", "send", topics["clicks"], given=clicks(sent, 300))
    reader.run(*run, STREAMREC_FOLLOW="false")

    lines = reader.run("streamrec", "receive", topics["clicks"], "--meta").stdout.split("\n")[:-1]
    answers, failed = expected([json.loads(line) for line in lines])
    found = received(reader, counts_topic)
    places = [(each["source_partition"], each["source_offset"]) for each in found]
    assert len(places) == len(set(places)), "a click was answered twice"
    assert {p: (e["user_id"], e["carts"]) for p, e in zip(places, found, strict=True)} == answers
    errors = received(reader, topics["errors"])
    assert sorted((e["partition"], e["offset"]) for e in errors) == sorted(failed)
    assert {e["reason"] for e in errors} == {"invalid_value"}
    assert {e["stage"] for e in errors} == {"count"}


def sales(n: int) -> list[dict[str, Any]]:
    """By four shops, of which two come to a million; each tenth is broken in one of four ways."""
    wrong: list[dict[str, Any]] = [
        {"shop_id": ""},
        {"cents": 0},
        {"currency": "GBP"},
        {"sold_at": START_MS // 1_000},
    ]
    found = []
    for number in range(n):
        shop = number % 4
        sale: dict[str, Any] = {
            "shop_id": f"s{shop}",
            "cents": 10_000_000 if shop % 2 else 100,
            "currency": "EUR",
            "sold_at": START_MS + number,
        }
        found.append(sale | (wrong[number // 10 % 4] if number % 10 == 7 else {}))
    return found


def json_of(reader: Reader, topic: str) -> list[Any]:
    lines = reader.run("streamrec", "receive", topic, "--json").stdout.split("\n")[:-1]
    return [json.loads(line) for line in lines]


def test_records_of_ones_own_topics_go_from_avro_to_json_and_on(reader: Reader) -> None:
    write_files(reader)
    create_sales, create_goals, run_sales, run_goals, receive = commands(1)
    names = ("sales", "shop_totals", "shop_goals", "errors")
    topic = {name: reader.environment[f"STREAMREC_{name.upper()}_TOPIC"] for name in names}
    assert receive == ["streamrec", "receive", "shop-totals", "--json"], "called otherwise here"
    made = reader.run(*create_sales).stdout
    assert f"topic {topic['shop_totals']}: made" in made
    assert f"schema {topic['sales']}-value: " in made and f"{topic['shop_totals']}-val" not in made
    assert f"topic {topic['shop_goals']}: made" in reader.run(*create_goals).stdout
    shown = reader.run("streamrec", "describe", "goals").stdout
    assert "Source: shop-totals (key: shop_id, value: JSON)" in shown

    sent = sales(80)
    given = "".join(json.dumps(sale) + "\n" for sale in sent)
    reader.run("streamrec", "send", topic["sales"], "--key-field", "shop_id", given=given)
    reader.run(*run_sales, STREAMREC_FOLLOW="false")

    good = [sale for number, sale in enumerate(sent) if number % 10 != 7]
    so_far: dict[str, int] = defaultdict(int)
    totals = []
    for sale in good:
        so_far[sale["shop_id"]] += sale["cents"]
        total = {"shop_id": sale["shop_id"], "cents": so_far[sale["shop_id"]]}
        totals.append({**total, "at": sale["sold_at"]})
    found = json_of(reader, topic["shop_totals"])
    assert sorted(found, key=lambda each: each["at"]) == totals
    errors = received(reader, topic["errors"])
    told = sorted(each["message"].partition(", got")[0] for each in errors)
    assert told == sorted(
        f"step 'decode': field {what}"
        for what in (
            "shop_id expected a string of 1 to 64 bytes",
            "cents expected an integer from 1 to 1000000000",
            "currency expected one of EUR, USD",
            "sold_at expected Unix milliseconds",
        )
        for _ in range(2)
    )

    strange = [b"{nope", b'{"shop_id": "s1", "cents": 5, "at": 1, "closed": true}', b"[]"]
    text = b"\n".join(strange).decode()
    reader.run("streamrec", "send", topic["shop_totals"], "--raw", given=text)
    reader.run(*run_goals, STREAMREC_FOLLOW="false")

    expected = [(t["shop_id"], t["at"]) for t in totals if t["cents"] >= 100_000_000]
    assert {shop for shop, _ in expected} == {"s1", "s3"}
    goals = json_of(reader, topic["shop_goals"])
    assert sorted((g["shop_id"], g["at"]) for g in goals) == sorted(expected)
    of_json = [e for e in received(reader, topic["errors"]) if e["topic"] == topic["shop_totals"]]
    assert {(e["stage"], e["reason"], e["value"]) for e in of_json} == {
        ("decode", "undecodable", strange[0].decode()),
        ("reach", "invalid_value", strange[1].decode()),
        ("decode", "invalid_value", strange[2].decode()),
    }

    # What failed goes back as it came, and a replay elsewhere finds the same.
    reader.run("streamrec", "topics", "create", f"{topic['errors']}-redrives")
    name = next(f"{e['topic']}/{e['partition']}/{e['offset']}" for e in of_json)
    redriven = reader.run("streamrec", "errors", "redrive", name).stdout
    assert redriven == "redriven 1, were already 0\n"
    lines = reader.run("streamrec", "receive", topic["shop_totals"], "--raw").stdout.splitlines()
    counts = [[json.loads(line) for line in lines].count(each.decode()) for each in strange]
    assert sorted(counts) == [1, 1, 2]
    replay = ["streamrec", "replay", "--flow", "goals", "--from", "earliest", "--into", "v2"]
    reader.run(*replay)
    again = json_of(reader, f"{topic['shop_goals']}-v2")
    assert sorted((g["shop_id"], g["at"]) for g in again) == sorted(expected)
