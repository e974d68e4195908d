"""docs/your-own-dataflow.md, followed word by word, with kills."""

import json
import shlex
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.docs.pages import Reader, blocks

PAGE = "your-own-dataflow.md"
LINES_MAX = 60
START_MS = 1_767_225_600_000
Place = tuple[int, int]


def write_files(reader: Reader) -> None:
    (schema,), (module, test) = blocks(PAGE, "json"), blocks(PAGE, "python")
    (reader.folder / "cart_counts.avsc").write_text(schema, encoding="utf-8")
    (reader.folder / "carts.py").write_text(module, encoding="utf-8")
    (reader.folder / "test_carts.py").write_text(test, encoding="utf-8")


def commands() -> list[list[str]]:
    return [shlex.split(line, comments=True) for line in blocks(PAGE, "sh")[0].splitlines()]


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
    module, _ = blocks(PAGE, "python")
    assert len(module.splitlines()) <= LINES_MAX


def test_the_test_of_the_page_passes_and_can_fail(tmp_path: Path) -> None:
    reader = Reader(tmp_path, {})
    write_files(reader)
    test = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_carts.py"]
    options: dict[str, Any] = {"cwd": tmp_path, "env": reader.environment, "timeout": 90}
    passed = subprocess.run(test, capture_output=True, text=True, **options)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    module = (tmp_path / "carts.py").read_text(encoding="utf-8")
    (tmp_path / "carts.py").write_text(module.replace('== "cart")', '== "view")'), encoding="utf-8")
    failed = subprocess.run(test, capture_output=True, text=True, **options)
    assert "assert [(0, 0), (2, 0)] == [(0, 1), (2, 2)]" in failed.stdout


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
