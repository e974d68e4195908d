"""The scorer on a log, run in this process: lists of models, what is sent, what comes out."""

import json
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from bytewax.recovery import RecoveryConfig
from bytewax.testing import cluster_main, run_main

from streamrec import PaperJob
from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Headers, Log, Outgoing
from streamrec.connectors.reading import read_all
from streamrec.dataflows.engine.stopping import Stopping
from streamrec.dataflows.errors.redrive import ErrorRecord, read_errors
from streamrec.dataflows.job.opening import open_job_with
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import make_all, redrives_of
from streamrec.dataflows.scorer import FLOW_ID, build_flow
from streamrec.dataflows.serving.serve import listed
from tests.dataflows.serving.on_paper import MODELS

EPOCH_S = 0.2


class ScorerBench:
    """One recovery directory, and the lists with which it is run."""

    def __init__(self, settings: Settings, prefix: str, recovery: Path) -> None:
        self.settings = settings
        self.prefix = prefix
        self.recovery = recovery
        self.log: Log = open_log(settings)

    def settings_of(self, *entries: str, **given: Any) -> Settings:
        """Settings with a list of models, whose topics are made."""
        path = self.recovery.with_name("served.toml")
        text = "\n".join((f'prefix = "{self.prefix}"', *entries)).replace("MODELS", MODELS)
        path.write_text(text)
        settings = self.settings.model_copy(update={"models": str(path), **given})
        rows = [
            row
            for _, each in listed(PaperJob(FLOW_ID, settings=settings))
            for row in (*each.inputs, each.outputs, each.errors, redrives_of(each.errors))
        ]
        make_all(self.log, {row.name: row for row in rows})
        return settings

    def run(
        self,
        *entries: str,
        stopping: Stopping | None = None,
        workers: int = 1,
        epoch_s: float = EPOCH_S,
        **given: Any,
    ) -> None:
        settings = self.settings_of(*entries, **given)
        job = open_job_with(
            FLOW_ID,
            settings,
            stopping=stopping or Stopping(),
            inputs_change=True,
            share_clients=True,
        )
        config = RecoveryConfig(str(self.recovery))  # type: ignore[no-untyped-call]
        flow, every = build_flow(job), timedelta(seconds=epoch_s)
        if workers == 1:
            run_main(flow, epoch_interval=every, recovery_config=config)  # type: ignore[no-untyped-call]
            job.end()
            return
        cluster_main(  # type: ignore[no-untyped-call]
            flow,
            [],
            0,
            epoch_interval=every,
            recovery_config=config,
            worker_count_per_proc=workers,
        )
        job.end()

    def topic(self, name: str, kind: str, version: str = "1.0") -> str:
        return f"{self.prefix}.{name}.{version}.{kind}"

    def send(
        self,
        name: str,
        values: Sequence[Any],
        keys: Sequence[bytes] | None = None,
        headers: Headers | None = None,
        version: str = "1.0",
    ) -> None:
        """Values as JSON, or bytes as they are; all under one key where none are given."""
        out = [
            Outgoing(
                b"k" if keys is None else keys[index],
                value if isinstance(value, bytes) else json.dumps(value).encode(),
                headers,
            )
            for index, value in enumerate(values)
        ]
        with closing(self.log.writer()) as writer:
            writer.write(self.topic(name, "inputs", version), out)
            writer.flush(30.0)

    def said(self, name: str, version: str = "1.0") -> list[Any]:
        """The values of its outputs, in order of writing for each partition."""
        records = read_all(self.log, self.topic(name, "outputs", version))
        return [json.loads(record.value or b"null") for record in records]

    def headers(self, name: str) -> list[tuple[bytes | None, dict[str, bytes | None]]]:
        """Of its outputs, with their keys."""
        records = read_all(self.log, self.topic(name, "outputs"))
        return [(record.key, dict(record.headers)) for record in records]

    def failed(self, name: str, version: str = "1.0") -> list[ErrorRecord]:
        return list(read_errors(self.log, self.topic(name, "errors", version)))
