"""docs/front.md: from an empty folder to a page, in a real browser.

The browser is the machine's Chromium (Debian's package `chromium`). Screenshots are kept in
`.screenshots/` of the repository.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, sync_playwright

from streamrec.connectors.local.free_ports import free_ports
from tests.docs.pages import STREAMREC, Reader, blocks

CHROMIUM = shutil.which("chromium")
SCREENSHOTS = Path(__file__).parents[2] / ".screenshots"
# It looks for nothing on any network.
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
READY_S = 100.0

pytestmark = pytest.mark.timeout(200)


class Up:
    """`streamrec up` in the reader's folder, at ports of its own."""

    def __init__(self, reader: Reader) -> None:
        (command,) = (line for line in blocks("front.md", "sh")[0].splitlines() if line)
        page, ingress, api = free_ports(3)
        ports = ["--port", page, "--ingress-port", ingress, "--api-port", api]
        if "KAFKA_BOOTSTRAP_SERVERS" in reader.environment:  # as the page says
            ports += ["--visits", 2_000]
        self.folder = reader.folder / "data" / "up"
        self.page, self.ingress, self.api = (f"http://127.0.0.1:{p}" for p in (page, ingress, api))
        self._log = reader.folder / "up.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(STREAMREC), *command.split()[1:], *map(str, ports)],
                cwd=reader.folder,
                env=reader.environment,
                stdout=log,
                stderr=log,
            )
        give_up_s = time.monotonic() + READY_S
        while "Ctrl-C ends all" not in self.told():
            assert self.process.poll() is None and time.monotonic() < give_up_s, self.told()
            time.sleep(0.1)

    def told(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)


@pytest.fixture
def up(reader: Reader) -> Iterator[Up]:
    reader.environment.pop("EMBEDDED_LOG_PATH", None)
    with closing(Up(reader)) as running:
        yield running


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no chromium on the PATH: `apt-get install chromium` gives the page's browser")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        try:
            yield browser.new_page()
        finally:
            browser.close()


def test_each_look_is_answered_by_what_goes_with_it_and_all_end_in_good_order(
    up: Up, page: Page, request: pytest.FixtureRequest
) -> None:
    complaints: list[str] = []
    page.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(up.page)
    for number, item in enumerate(("tent", "head-lamp", "guitar"), 1):
        page.click(f'#all [data-item="{item}"] .look')
        page.wait_for_selector(f'body[data-answered="{number}"]', timeout=20_000)
        shown = page.locator("#recommended .product")
        items = [shown.nth(at).get_attribute("data-item") for at in range(shown.count())]
        if item == "tent":
            assert {"head-lamp", "camp-stove"} & set(items[:4]), items
        assert len(items) == 8
        assert "session" in (shown.first.locator(".why").text_content() or "")
    page.click('#all [data-item="violin"] .cart')
    page.wait_for_selector("text=Violin is in the cart.")
    SCREENSHOTS.mkdir(exist_ok=True)
    back_end = "kafka" if "kafka" in request.node.name else "embedded"
    page.screenshot(path=SCREENSHOTS / f"front-{back_end}.png", full_page=True)
    assert not complaints

    by_hand(up)
    up.close()
    assert up.process.returncode == 0, up.told()
    assert "all have ended\n" in up.told()


def by_hand(up: Up) -> None:
    """The page's two calls; the click is sent twice and stands once, for the API answers by it."""
    click = {"user_id": "me", "item_id": "tent", "event_type": "view", "event_id": "1"}
    first, second = (
        httpx.post(f"{up.ingress}/clicks", content=json.dumps(click), headers=JSON).json()
        for _ in range(2)
    )
    assert second["duplicate"] is True
    assert [second[name] for name in ("partition", "offset")] == [
        first["partition"],
        first["offset"],
    ]
    give_up_s = time.monotonic() + 20.0
    while True:
        found = httpx.get(f"{up.api}/recommendations/me", params={"n": 3, "explain": "true"}).json()
        if found["source"].get("offset") == first["offset"]:
            break
        assert time.monotonic() < give_up_s, found
        time.sleep(0.02)
    assert len(found["items"]) == 3 and found["age_ms"] < 30_000


JSON = {"content-type": "application/json"}


@pytest.mark.slow
def test_a_part_that_is_killed_comes_back_and_the_page_goes_on(
    up: Up, request: pytest.FixtureRequest
) -> None:
    if "kafka" in request.node.name:
        pytest.skip("what a kill does to the log is the chaos runs' matter; one back end is enough")
    found = subprocess.run(
        ["pgrep", "-f", f"streamrec ingress --port {up.ingress.rpartition(':')[2]}"],
        capture_output=True,
        text=True,
    ).stdout.split()
    assert found
    for pid in map(int, found):
        os.kill(pid, signal.SIGKILL)
    give_up_s = time.monotonic() + 60.0
    while True:
        try:
            if httpx.get(f"{up.ingress}/health/ready").status_code == 200:
                break
        except httpx.TransportError:
            pass
        assert time.monotonic() < give_up_s, up.told()
        time.sleep(0.1)
    assert "ingress ended with status" in up.told()
    by_hand(up)
