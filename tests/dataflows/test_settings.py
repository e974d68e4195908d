"""Settings: read from the environment, checked, named when wrong, secrets kept."""

from pathlib import Path

import pytest
from pydantic_settings import BaseSettings
from typer.testing import CliRunner

from streamrec.dataflows.job.settings import Settings, SettingsError, load_settings
from streamrec.program import app
from streamrec.program.running.show_settings import SERVICES, settings_table

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.mark.parametrize("kind", [Settings, *SERVICES])
def test_documented_settings_are_those_that_exist(kind: type[BaseSettings]) -> None:
    assert settings_table(kind) in DOCS.read_text(), (
        "docs/settings.md expected the table of `streamrec settings --markdown`"
    )


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("STREAMREC_TOP_K", "0", "STREAMREC_TOP_K: .* greater than or equal to 1, got '0'"),
        ("STREAMREC_TOP_K", "many", "STREAMREC_TOP_K: .* valid integer.*, got 'many'"),
        ("STREAMREC_RECOMMEND_ON", "view,click", "STREAMREC_RECOMMEND_ON: .* got 'click'"),
        ("STREAMREC_START_FROM", "then", "STREAMREC_START_FROM: start expected .* got 'then'"),
        (
            "STREAMREC_MODEL",
            "best",
            "STREAMREC_MODEL: expected artifact, river, none, .* got 'best'",
        ),
        ("SCHEMA_REGISTRY_URL", "here", "SCHEMA_REGISTRY_URL expected an http:// .* got 'here'"),
        ("STREAMREC_WINDOWS", "1m,fast", "STREAMREC_WINDOWS: windows expected .* got 'fast'"),
        ("KAFKA_OPTION_GROUP_ID", "g", "KAFKA_OPTION"),
    ],
)
def test_wrong_setting_is_named_with_what_was_expected(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=expected):
        load_settings()


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "broker:9092")
    monkeypatch.setenv("KAFKA_OPTION_SASL_PASSWORD", "hush-hush")
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", "http://registry")
    monkeypatch.setenv("SCHEMA_REGISTRY_USER_INFO", "me:hush-hush")
    settings = load_settings()
    printed = CliRunner().invoke(app, ["settings"])
    assert printed.exit_code == 0
    for text in (repr(settings), str(settings), printed.output):
        assert "hush-hush" not in text
    assert settings.librdkafka()["sasl.password"] == "hush-hush"
    assert "sasl.password" in printed.output


def test_variables_are_read_under_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMREC_RECOMMEND_ON", "view, cart")
    monkeypatch.setenv("STREAMREC_START_FROM", "0:17,3:5")
    monkeypatch.setenv("STREAMREC_FOLLOW", "false")
    settings = load_settings()
    assert settings.recommend_on == {"view", "cart"}
    assert settings.start_from.offsets == {0: 17, 3: 5}
    assert settings.follow is False
    assert Settings().top_k == 20
