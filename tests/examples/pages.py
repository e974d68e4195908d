"""Pages of the examples, as a reader follows them."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def commands(page: Path, block: int = 0) -> list[list[str]]:
    """Those of a block of a page, in order, word by word."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)[block]
    return [shlex.split(line, comments=True) for line in found.splitlines()]


def ran(command: list[str], folder: Path) -> str:
    """What `streamrec ...` prints, in a process of its own; it must end well."""
    assert command[0] == "streamrec", command
    done = subprocess.run(
        [str(Path(sys.executable).with_name("streamrec")), *command[1:]],
        cwd=folder,
        env={**os.environ, "STREAMREC_FOLLOW": "false", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout
