"""SCHEMA_REGISTRY_URL: several with commas; one that cannot be is refused by the settings."""

import pytest

from streamrec.connectors.log_settings import LogSettings
from streamrec.connectors.registry_urls import registry_urls, shown


def test_several_urls_keep_their_order_and_paths() -> None:
    text = "http://one:8081/,https://user:secret@two/apis/ccompat/v7 , http://[::1]:8081"
    urls = registry_urls(text)
    assert urls == [
        "http://one:8081",
        "https://user:secret@two/apis/ccompat/v7",
        "http://[::1]:8081",
    ]
    assert shown(urls) == "'http://one:8081', 'https://two/apis/ccompat/v7', 'http://[::1]:8081'"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("registry:8081", "no such scheme"),
        ("ftp://registry", "no such scheme"),
        ("http://", "no host"),
        ("http://:8081", "no host"),
        ("http://registry:http", "no such port"),
        ("http://registry:0", "no such port"),
        ("http://registry:70000", "no such port"),
        ("http://registry one", "characters that no URL has"),
        ("http://registry?x=1", "more than host, port and path"),
        ("http://registry#x", "more than host, port and path"),
        ("http://[::1", "Invalid IPv6 URL"),
        ("http://one,,http://two", "no such scheme"),
        ("http://one,two:8081", "no such scheme"),
    ],
)
def test_a_url_that_cannot_be_is_refused_by_the_settings(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="SCHEMA_REGISTRY_URL expected an http://") as caught:
        LogSettings(schema_registry_url=text)
    assert complaint in str(caught.value)


def test_a_password_with_a_comma_is_in_no_message() -> None:
    with pytest.raises(ValueError, match="expected an http://") as caught:
        registry_urls("http://me:geh,eim@registry:8081")
    assert "geh" not in str(caught.value)
    assert "eim" not in str(caught.value)
