from pathlib import Path

import pytest

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
