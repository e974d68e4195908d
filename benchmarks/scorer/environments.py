"""Environments of the contenders: each its own, from its own lock, made at first use.

Locks are made anew, with the newest versions, by the line at their head.
"""

import fcntl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.processes import BenchmarkError

CONTENDERS = Path(__file__).parent / "contenders"
ENVIRONMENTS = Path(__file__).parents[2] / ".bench-envs"  # git-ignored


def python_of(name: str, say: Callable[[str], None]) -> Path:
    """The interpreter of a contender's environment, which is made if it is missing or its lock has
    changed. Raises BenchmarkError when that fails."""
    lock = CONTENDERS / f"{name}.lock"
    environment = ENVIRONMENTS / name
    # A copy of the lock, written last: an environment that was left half made does not have it.
    made_from = environment / "made-from.lock"
    python = environment / "bin" / "python"
    ENVIRONMENTS.mkdir(exist_ok=True)
    with (ENVIRONMENTS / f"{name}.guard").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if made_from.exists() and made_from.read_bytes() == lock.read_bytes():
            return python
        say(f"making the environment of {name} in {environment}, once")
        _run([sys.executable, "-m", "venv", "--clear", str(environment)])
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "-q"]
        _run([*pip, "install", "--require-hashes", "--no-deps", "-r", str(lock)])
        made_from.write_bytes(lock.read_bytes())
    return python


def version_of(name: str, package: str) -> str:
    """The version of a package in a contender's lock."""
    for line in (CONTENDERS / f"{name}.lock").read_text().splitlines():
        found, _, version = line.partition("==")
        if found == package:
            return version.split()[0]
    raise BenchmarkError(f"{name}.lock expected {package}, got none")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if done.returncode:
        raise BenchmarkError(
            f"{' '.join(command[:5])} ... ended with status {done.returncode}, see above"
        )
