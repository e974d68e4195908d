"""`kafka`: a real broker and a real registry on this machine, for as long as it runs."""

import signal
import time
from types import FrameType

import typer

from streamrec.program.shared import CommandError


def kafka() -> None:
    """Run a real Kafka and a real schema registry, without Docker or installed Java, until Ctrl-C.

    Prints the two settings to export. Both need the extra `dev`; the first time they are fetched
    from Maven, some 200 MB.
    """
    # Here and not above: what it stands on is for tests, and the other commands need none of it.
    from streamrec.connectors.local.jars import LocalKafkaError
    from streamrec.connectors.local.kafka import local_kafka, say_on_stderr

    signal.signal(signal.SIGTERM, _leave)
    try:
        say_on_stderr("starting a broker and a registry, some 10 s")
        with local_kafka() as running:
            typer.echo(f"export KAFKA_BOOTSTRAP_SERVERS={running.bootstrap_servers}")
            typer.echo(f"export SCHEMA_REGISTRY_URL={running.registry_url}")
            say_on_stderr("running; Ctrl-C ends both and removes their data")
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        say_on_stderr("stopped")
    except LocalKafkaError as error:
        raise CommandError(str(error)) from error


def _leave(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt
