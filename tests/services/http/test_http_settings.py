"""Settings of HTTP services: what is refused before anything listens, and what the guard is."""

from pathlib import Path

import pytest

from streamrec.dataflows.job.settings import SettingsError
from streamrec.services.http.keys_file import create_key
from streamrec.services.http.settings import HttpSettings, guard_of, load_service


def test_a_server_that_others_reach_needs_keys_or_to_be_told_that_it_is_open(
    tmp_path: Path,
) -> None:
    with pytest.raises(SettingsError, match="keys create"):
        guard_of(HttpSettings(), "0.0.0.0")
    assert guard_of(HttpSettings(), "127.0.0.1").access.is_open
    assert guard_of(HttpSettings(open=True), "0.0.0.0").access.is_open
    create_key(tmp_path / "keys", "shop", ["clicks"])
    assert not guard_of(HttpSettings(keys_file=tmp_path / "keys"), "0.0.0.0").access.is_open


def test_keys_that_are_set_and_not_there_let_nobody_in(tmp_path: Path) -> None:
    assert not guard_of(HttpSettings(keys_file=tmp_path / "none"), "127.0.0.1").access.is_open


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("BODY_BYTES", "7", "STREAMREC_HTTP_BODY_BYTES: .*, got '7'"),
        ("CORS_ORIGINS", "shop.example", "STREAMREC_HTTP_CORS_ORIGINS: .* got 'shop.example'"),
        ("JWT_ALGORITHM", "none", "STREAMREC_HTTP_JWT_ALGORITHM: .*, got 'none'"),
    ],
)
def test_a_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(f"STREAMREC_HTTP_{name}", value)
    with pytest.raises(SettingsError, match=expected):
        load_service(HttpSettings)


def test_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMREC_HTTP_JWT_SECRET", "hush-hush")
    settings = load_service(HttpSettings)
    assert "hush-hush" not in repr(settings)
    with pytest.raises(SettingsError, match="at least 32 bytes") as caught:
        guard_of(settings, "127.0.0.1")
    assert "hush-hush" not in str(caught.value)


def test_names_stand_with_commas_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMREC_HTTP_CORS_ORIGINS", "https://a.example, https://b.example")
    monkeypatch.setenv("STREAMREC_HTTP_RATE_OF_KEY", "50")
    guard = guard_of(load_service(HttpSettings), "127.0.0.1")
    assert guard.cors.is_on and guard.rates_of_keys.is_on and not guard.rates_of_addresses.is_on
