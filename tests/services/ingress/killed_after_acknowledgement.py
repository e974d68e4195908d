"""Ingress that kills itself with SIGKILL when the log has acknowledged an event, and before it
could answer: `python killed_after_acknowledgement.py`, settings in the environment as always."""

import os
import signal
from collections.abc import Sequence
from typing import Any

import typer

from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Appending, Log, LogAppender, Outgoing
from streamrec.dataflows.job.settings import load_settings
from streamrec.services.http.server import serve
from streamrec.services.ingress.app import IngressApp
from streamrec.services.ingress.settings import IngressSettings


class KillingAppender:
    """The real one, up to its first acknowledgement."""

    def __init__(self, appender: LogAppender) -> None:
        self._appender = appender
        self.prepare = appender.prepare
        self.close = appender.close

    def begin(self, messages: Sequence[tuple[str, Outgoing]]) -> Appending:
        return self._appender.begin(messages)

    def wait(self, appending: Appending, timeout_s: float) -> bool:
        if self._appender.wait(appending, timeout_s):
            os.kill(os.getpid(), signal.SIGKILL)
        return False


class KillingLog:
    """The real log but for its appenders."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def appender(self) -> KillingAppender:
        return KillingAppender(self._log.appender())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


if __name__ == "__main__":
    job = load_settings()
    log: Any = KillingLog(open_log(job))
    serve(
        lambda: IngressApp(log, IngressSettings(), job).http,
        "127.0.0.1",
        0,
        listening=lambda url: typer.echo(f"listens on {url}"),
    )
