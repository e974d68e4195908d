"""A command whose broker or registry is away says so in one line."""

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from streamrec.connectors.backend import open_log
from streamrec.connectors.log import LogError
from streamrec.connectors.log_settings import LogSettings
from streamrec.connectors.patience import Patience
from tests.conftest import KafkaPair
from tests.connectors.unwell_registry import html, unwell_registry
from tests.program.conftest import Shell, shell_with

pytestmark = pytest.mark.timeout(60)


@contextmanager
def closing_port(context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A port where whoever speaks is cut off, as a TLS listener does to plain text; or, after TLS
    was offered."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            try:
                while True:
                    there, _ = listener.accept()
                    with there, suppress(ssl.SSLError):
                        if context is not None:
                            context.wrap_socket(there, server_side=True).close()
                        else:
                            there.recv(1_000)
            except OSError:
                pass

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def kafka_shell(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": where,
        "EMBEDDED_LOG_PATH": str(tmp_path / "log.sqlite"),
    }
    return shell_with(environment, monkeypatch)


def test_a_broker_that_is_away_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    answer = kafka_shell(f"127.0.0.1:{port}", tmp_path, monkeypatch)("topics", "list")
    assert answer.status == 1
    assert "Connection refused" in answer.err
    assert "check KAFKA_BOOTSTRAP_SERVERS and that the broker runs" in answer.err
    assert answer.err.count("\n") == 1


def test_another_protocol_is_hinted_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing_port() as port:
        answer = kafka_shell(f"127.0.0.1:{port}", tmp_path, monkeypatch)("topics", "list")
    assert answer.status == 1
    assert "Disconnected" in answer.err
    assert "and KAFKA_OPTION_SECURITY_PROTOCOL" in answer.err


@pytest.mark.kafka
@pytest.mark.timeout(180)  # a broker may have to be started
def test_tls_to_a_broker_that_speaks_none_is_hinted_at(
    kafka_pair: KafkaPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = kafka_shell(kafka_pair.bootstrap_servers, tmp_path, monkeypatch)
    answer = shell("topics", "list", KAFKA_OPTION_SECURITY_PROTOCOL="SSL")
    assert answer.status == 1
    # In librdkafka's words, which depend on who hangs up first.
    assert "PLAINTEXT broker listener?" in answer.err or "SSL_HANDSHAKE" in answer.err
    assert "and KAFKA_OPTION_SECURITY_PROTOCOL" in answer.err


@pytest.mark.kafka
@pytest.mark.timeout(180)
def test_a_password_that_is_not_taken_stops_at_once_however_long_is_waited(
    kafka_pair: KafkaPair,
) -> None:
    options = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "someone",
        "sasl.password": "geheim",
    }
    settings = LogSettings(
        kafka_bootstrap_servers=kafka_pair.bootstrap_servers, kafka_options=options
    )
    with (
        closing(open_log(settings, Patience(None)).admin()) as admin,
        pytest.raises(LogError, match="check KAFKA_OPTION_SECURITY_PROTOCOL and the like") as said,
    ):
        admin.topics()
    assert "geheim" not in str(said.value)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_a_certificate_that_is_not_trusted_stops_at_once_however_long_is_waited(
    tmp_path: Path,
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    made = [*command, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with closing_port(context) as port:
        settings = LogSettings(
            kafka_bootstrap_servers=f"127.0.0.1:{port}", kafka_options={"security.protocol": "SSL"}
        )
        with (
            closing(open_log(settings, Patience(None)).admin()) as admin,
            pytest.raises(LogError, match=r"certificate verify failed.*check KAFKA_OPTION_"),
        ):
            admin.topics()


def test_a_registry_that_is_unwell_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unwell_registry() as registry:
        registry.says("/", html(502))
        environment = {
            "SCHEMA_REGISTRY_URL": registry.url,
            "EMBEDDED_LOG_PATH": str(tmp_path / "log.sqlite"),
        }
        answer = shell_with(environment, monkeypatch)("topics", "create")
    assert answer.status == 1
    assert "got 502 '<html><body>Sign in, please" in answer.err
    assert answer.err.count("\n") == 1


def test_a_proxy_that_cannot_be_used_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {
        "SCHEMA_REGISTRY_URL": "http://registry.invalid:8081",
        "ALL_PROXY": "socks5://127.0.0.1:9",
        "EMBEDDED_LOG_PATH": str(tmp_path / "log.sqlite"),
    }
    answer = shell_with(environment, monkeypatch)("topics", "create")
    assert answer.status == 1
    assert "ALL_PROXY" in answer.err
    assert answer.err.count("\n") == 1
