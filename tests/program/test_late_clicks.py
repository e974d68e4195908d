"""`import` says how many clicks come too late, and the main job agrees."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.program.conftest import Shell

T0 = 1_767_225_600
HOUR = 3_600


def log_of(path: Path, first_s: int, users: int = 200) -> str:
    """A click of each user, all within a minute."""
    rows = "".join(f"u{n},i{n % 7},{first_s + n % 60}\n" for n in range(users))
    path.write_text("user_id,item_id,timestamp\n" + rows)
    return str(path)


def warned(text: str) -> list[int]:
    return [
        int(found) for found in re.findall(r"warning: (\d+) of these clicks are more than", text)
    ]


def late_for_the_main_job(shell: Shell, folder: Path) -> int:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("STREAMREC_")}
    done = subprocess.run(
        [sys.executable, "-m", "streamrec", "run"],
        env={**kept, "STREAMREC_FOLLOW": "false", "STREAMREC_MODEL": "none"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return len(shell("errors", "list", "--reason", "too_late").lines)


def test_old_clicks_after_new_ones_are_counted_as_the_main_job_counts_them(
    embedded_shell: Shell, tmp_path: Path
) -> None:
    embedded_shell("topics", "create")
    new = embedded_shell("import", log_of(tmp_path / "new.csv", T0))
    assert (new.status, warned(new.err)) == (0, [])
    within = embedded_shell("import", log_of(tmp_path / "within.csv", T0 - HOUR // 2))
    assert (within.status, warned(within.err)) == (0, [])
    old = embedded_shell("import", log_of(tmp_path / "old.csv", T0 - 30 * HOUR))
    assert (old.status, warned(old.err)) == (0, [200])
    assert "held before, and too_late for the main job" in old.err
    assert late_for_the_main_job(embedded_shell, tmp_path) == 200


def test_few_users_or_one_wrong_clock_make_nothing_late(
    embedded_shell: Shell, tmp_path: Path
) -> None:
    embedded_shell("topics", "create")
    embedded_shell("import", log_of(tmp_path / "few.csv", T0, users=9))
    first = embedded_shell("import", log_of(tmp_path / "old.csv", T0 - 30 * HOUR))
    assert warned(first.err) == []
    embedded_shell("import", log_of(tmp_path / "wrong.csv", T0 + 900 * HOUR, users=9))
    again = embedded_shell("import", log_of(tmp_path / "again.csv", T0 - 30 * HOUR))
    assert warned(again.err) == []
    assert late_for_the_main_job(embedded_shell, tmp_path) == 0


def test_the_longest_window_of_the_settings_decides(
    embedded_shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded_shell("topics", "create")
    embedded_shell("import", log_of(tmp_path / "new.csv", T0))
    monkeypatch.setenv("STREAMREC_WINDOWS", "1m,10m,7d")
    old = embedded_shell("import", log_of(tmp_path / "old.csv", T0 - 30 * HOUR))
    assert (old.status, warned(old.err)) == (0, [])


def test_what_is_no_click_on_the_topic_stops_no_import(
    embedded_shell: Shell, tmp_path: Path
) -> None:
    embedded_shell("topics", "create")
    embedded_shell("send", "clicks", "--raw", stdin="broken\n" * 50)
    answer = embedded_shell("import", log_of(tmp_path / "log.csv", T0))
    assert (answer.status, warned(answer.err)) == (0, [])
