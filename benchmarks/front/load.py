"""Loads of two generators that are not ours: wrk for rates, oha in an open loop for latencies.

wrk is a package of most systems; oha is built by `cargo install oha --locked`. Both are looked for
on the PATH and in `.bench-envs/tools/bin`.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import BenchmarkError, Running

_TOOLS = Path(__file__).parents[2] / ".bench-envs" / "tools" / "bin"
_HINTS = {"wrk": "apt-get install wrk", "oha": "cargo install oha --locked"}
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}

# Bodies and a key, in turns; {count} events a body, users and items by a generator of its own.
_SCRIPT = """
local key = "{key}"
local users, items, count = {users}, {items}, {count}
local turn = 0
math.randomseed(os.time())
local function event()
  turn = turn + 1
  return string.format('{{"user_id":"u%d","item_id":"i%d","event_type":"view","timestamp":%d}}',
    math.random(users), math.random(items), {now_ms} + turn)
end
request = function()
  local body
  if count == 1 then
    body = event()
  else
    local events = {{}}
    for n = 1, count do events[n] = event() end
    body = "[" .. table.concat(events, ",") .. "]"
  end
  return wrk.format("POST", "{path}",
    {{["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. key}}, body)
end
"""
_GET_SCRIPT = """
local users = {users}
math.randomseed(os.time())
request = function()
  return wrk.format("GET", string.format("{path}", math.random(users)),
    {{["Authorization"] = "Bearer {key}"}})
end
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """What wrk saw, and what it took."""

    requests: int
    seconds: float
    server_cpu_s: float
    generator_cpu_s: float

    @property
    def a_second(self) -> float:
        return self.requests / self.seconds

    @property
    def a_core(self) -> float:
        """Requests for each second of the server's CPU."""
        return self.requests / self.server_cpu_s


@dataclass(frozen=True, slots=True)
class Latency:
    """What oha saw in an open loop: from when a request was due."""

    p50_ms: float
    p99_ms: float
    asked_a_second: float
    a_second: float


def posts(folder: Path, path: str, key: str, count: int, now_ms: int) -> Path:
    """A script of POSTs of `count` clicks each."""
    script = folder / f"posts-{count}.lua"
    script.write_text(
        _SCRIPT.format(key=key, users=100_000, items=10_000, count=count, path=path, now_ms=now_ms)
    )
    return script


def gets(folder: Path, path: str, key: str, users: int) -> Path:
    """A script of GETs, whose path has `%d` for the number of a user."""
    script = folder / "gets.lua"
    script.write_text(_GET_SCRIPT.format(users=users, path=path, key=key))
    return script


def by_wrk(
    server: Sequence[Running], url: str, script: Path, seconds: int, connections: int
) -> Rate:
    """As fast as it goes. Raises BenchmarkError where an answer is none of 2xx."""
    command = ["-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
    before = _cpu_s(server), os.times()
    text = _run("wrk", command, seconds + 60)
    after = _cpu_s(server), os.times()
    generator = (after[1].children_user + after[1].children_system) - (
        before[1].children_user + before[1].children_system
    )
    requests, took, unit = _found(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", text)
    if "Non-2xx" in text or "Socket errors" in text:
        raise BenchmarkError(f"wrk expected answers of 2xx alone, got:\n{text}")
    return Rate(int(requests), float(took) * _SECONDS[unit], after[0] - before[0], generator)


def by_oha(url: str, key: str, rate: float, seconds: int) -> Latency:
    """In an open loop, `rate` a second; `url` is a regular expression that makes addresses."""
    command = ["--no-tui", "--output-format", "json", "-q", f"{rate:.0f}", "-z", f"{seconds}s"]
    command += ["-c", "64", "--latency-correction", "--rand-regex-url"]
    text = _run("oha", [*command, "-H", f"Authorization: Bearer {key}", url], seconds + 60)
    found = json.loads(text)
    wrong = {code: n for code, n in found["statusCodeDistribution"].items() if code != "200"}
    if wrong:
        raise BenchmarkError(f"oha expected answers of 200 alone, got {wrong}")
    percentiles = found["latencyPercentiles"]
    return Latency(
        percentiles["p50"] * 1e3,
        percentiles["p99"] * 1e3,
        rate,
        found["summary"]["requestsPerSec"],
    )


def _run(name: str, arguments: Sequence[str], timeout_s: float) -> str:
    program = shutil.which(name) or shutil.which(name, path=str(_TOOLS))
    if program is None:
        raise BenchmarkError(f"expected the program {name}, found none: {_HINTS[name]}")
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if done.returncode:
        raise BenchmarkError(f"{name} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def _found(pattern: str, text: str) -> tuple[str, ...]:
    found = re.search(pattern, text)
    if found is None:
        raise BenchmarkError(f"wrk expected to tell {pattern!r}, got:\n{text}")
    return found.groups()


def _cpu_s(server: Sequence[Running]) -> float:
    return sum(each.cpu_s() for each in server)


__all__ = ["Latency", "Rate", "by_oha", "by_wrk", "gets", "posts"]
