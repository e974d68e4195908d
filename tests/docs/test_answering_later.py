"""docs/answering-later.md, followed word by word."""

import json
from pathlib import Path

from tests.docs.pages import Reader, assert_test_passes_and_can_fail, blocks

PAGE = "answering-later.md"


def write_files(reader: Reader) -> None:
    module, test = blocks(PAGE, "python")
    (reader.folder / "looking_up.py").write_text(module, encoding="utf-8")
    (reader.folder / "test_looking_up.py").write_text(test, encoding="utf-8")


def test_the_test_of_the_page_passes_and_can_fail(tmp_path: Path) -> None:
    reader = Reader(tmp_path, {})
    write_files(reader)
    harm = ('        if "town" in order:\n', "        if True:\n")
    assert_test_passes_and_can_fail(reader, "looking_up", harm, "KeyError")


def test_the_page_runs_to_the_end_of_its_topic_on_a_log(tmp_path: Path) -> None:
    reader = Reader(tmp_path, {"STREAMREC_FOLLOW": "false"})
    write_files(reader)
    reader.run("streamrec", "topics", "create", "--dataflow", "looking_up")
    orders = [{"user_id": f"u{n}", "town": "Ulm"} for n in range(30)] + [{"user_id": "nobody"}]
    given = "".join(f"{json.dumps(order)}\n" for order in orders)
    send = ("streamrec", "send", "orders", "--json", "--key-field", "user_id")
    reader.run(*send, given=given)

    reader.run("streamrec", "run", "--flow", "looking_up")

    found = reader.run("streamrec", "receive", "destinations", "--json").stdout.splitlines()
    users = sorted(json.loads(line)["value"]["user_id"] for line in found)
    assert users == sorted(f"u{n}" for n in range(30))
    assert reader.count("errors") == 1
