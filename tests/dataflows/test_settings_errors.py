"""Settings are refused before anything connects, each by its name, with what was expected."""

from pathlib import Path

import pytest

from streamrec.connectors.starts import Start
from streamrec.dataflows.job.settings import (
    Settings,
    SettingsError,
    load_settings,
    unknown_settings,
)


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.startswith(("STREAMREC_", "KAFKA_", "SCHEMA_REGISTRY_", "EMBEDDED_LOG_")):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("STREAMREC_TOP_K", "0", "STREAMREC_TOP_K: input should be greater than or equal to 1"),
        ("STREAMREC_TOP_K", "many", "STREAMREC_TOP_K: input should be a valid integer"),
        (
            "STREAMREC_RECOMMEND_ON",
            "view,veiw",
            "expected event types of view, cart, favorite, purchase, other, got 'veiw'",
        ),
        ("STREAMREC_START_FROM", "yesterday", "STREAMREC_START_FROM: start expected earliest"),
        ("STREAMREC_UNKNOWN_SCHEMA", "skip", "STREAMREC_UNKNOWN_SCHEMA: input should be 'wait' or"),
        (
            "STREAMREC_MODEL",
            "magic",
            "STREAMREC_MODEL: expected artifact, river, none, an artifact's folder or module:Class",
        ),
        ("STREAMREC_WINDOWS", "1s", "STREAMREC_WINDOWS: feature 'count_view_1s' expected a window"),
        ("STREAMREC_WINDOWS", "9999d", "STREAMREC_WINDOWS: windows expected at most 3660d, got"),
        ("STREAMREC_SESSION_GAP_S", "9" * 20, "STREAMREC_SESSION_GAP_S: input should be less than"),
        ("STREAMREC_MAX_AHEAD_S", "9" * 20, "STREAMREC_MAX_AHEAD_S: input should be less than"),
        ("STREAMREC_LANES", "0", "STREAMREC_LANES: input should be greater than or equal to 1"),
        ("SCHEMA_REGISTRY_URL", "localhost:8081", "expected an http:// or https:// URL, got"),
        ("KAFKA_OPTION_SASL_USERNAME", "me", "expected KAFKA_BOOTSTRAP_SERVERS beside it"),
    ],
)
def test_wrong_setting_is_named_with_what_was_expected(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert expected in str(raised.value)


def test_every_wrong_setting_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMREC_TOP_K", "0")
    monkeypatch.setenv("STREAMREC_SHARDS", "0")
    with pytest.raises(SettingsError, match=r"STREAMREC_TOP_K.*; STREAMREC_SHARDS"):
        load_settings()


def test_options_that_streamrec_sets_itself_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "localhost:9")
    monkeypatch.setenv("KAFKA_OPTION_ENABLE_AUTO_COMMIT", "true")
    with pytest.raises(SettingsError, match="KAFKA_OPTION_ENABLE_AUTO_COMMIT is set by streamrec"):
        load_settings()


def test_secrets_do_not_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "localhost:9")
    monkeypatch.setenv("KAFKA_OPTION_SASL_PASSWORD", "hunter2")
    monkeypatch.setenv("SCHEMA_REGISTRY_USER_INFO", "me:hunter2")
    settings = load_settings()
    assert "hunter2" not in repr(settings) + str(settings) + str(settings.model_dump())
    assert settings.librdkafka()["sasl.password"] == "hunter2"
    monkeypatch.setenv("KAFKA_OPTION_GROUP_ID", "hunter2")
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert "hunter2" not in str(raised.value)


def test_environment_and_arguments_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMREC_START_FROM", "0:5,2:7")
    monkeypatch.setenv("STREAMREC_RECOMMEND_ON", "cart, purchase")
    monkeypatch.setenv("STREAMREC_TOP_K", "7")
    settings = load_settings(top_k=9)
    assert settings.start_from == Start("offsets", offsets={0: 5, 2: 7})
    assert settings.recommend_on == {"cart", "purchase"}
    assert settings.top_k == 9


def test_each_setting_has_a_description() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_a_topic_of_a_dataflow_of_ones_own_is_no_misspelt_one_of_ours() -> None:
    named = ("OFFERS", "PURCHASES", "OUTCOMES", "CART_COUNTS", "RECOMENDATIONS", "CLICK")
    told = unknown_settings({f"STREAMREC_{name}_TOPIC": "t" for name in named})
    assert [each.split()[-1] for each in told] == [
        "STREAMREC_CLICKS_TOPIC?",
        "STREAMREC_RECOMMENDATIONS_TOPIC?",
    ]
