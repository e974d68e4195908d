"""Leases by way of a topic: holders that cannot see each other's locks, as on two machines."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamrec.connectors.backend import open_log
from streamrec.connectors.leases.holder import Claim
from streamrec.connectors.leases.lease import InUseError, Lease
from streamrec.connectors.log import Log
from streamrec.connectors.log_settings import LogSettings
from tests.connectors.lease_holders import holding

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

FOR_EVER_S = 600.0
_HOLD = """
import os, sys, time
from pathlib import Path
from streamrec.connectors.backend import open_log
from streamrec.connectors.leases.holder import Claim
from streamrec.connectors.log_settings import LogSettings

def lost(message):
    print(message, flush=True)
    os._exit(3)

servers, name, lease_s, locks = sys.argv[1:]
log = open_log(LogSettings(kafka_bootstrap_servers=servers, kafka_options={}))
lease = log.lease(name, Claim(0, "1", float(lease_s)), Path(locks), lost)
lease.claim()
print("held", flush=True)
time.sleep(600)
"""


@contextmanager
def held_elsewhere(
    settings: LogSettings, name: str, lease_s: float, locks: Path
) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a name."""
    servers = settings.kafka_bootstrap_servers
    assert servers is not None
    with holding(_HOLD, servers, name, str(lease_s), str(locks)) as process:
        yield process


def lease_of(log: Log, name: str, locks: Path, lease_s: float = 2.0) -> Lease:
    return log.lease(name, Claim(0, "1", lease_s), locks, lambda message: None)


def test_holder_that_renews_is_refused(
    kafka_log: Log, kafka_settings: LogSettings, topic_name: str, tmp_path: Path
) -> None:
    with held_elsewhere(kafka_settings, topic_name, 2.0, tmp_path / "there") as holder:
        wanted = rf"'{topic_name}' on kafka .* is in use by host '.*', pid {holder.pid}, since 20"

        with pytest.raises(InUseError, match=wanted):
            lease_of(kafka_log, topic_name, tmp_path / "here").claim()

        assert holder.poll() is None, "the newcomer must not shut out who holds it"


def test_holder_that_stood_still_is_followed_and_shut_out_when_it_wakes(
    kafka_log: Log, kafka_settings: LogSettings, topic_name: str, tmp_path: Path
) -> None:
    with held_elsewhere(kafka_settings, topic_name, 2.0, tmp_path / "there") as holder:
        os.kill(holder.pid, signal.SIGSTOP)

        lease = lease_of(kafka_log, topic_name, tmp_path / "here")
        lease.claim()
        os.kill(holder.pid, signal.SIGCONT)

        assert holder.wait(60.0) == 3
        assert holder.stdout is not None
        assert "was taken over by " in holder.stdout.read()
        lease.check()
        lease.leave()


def test_killed_holder_on_this_machine_is_followed_without_waiting(
    kafka_log: Log, kafka_settings: LogSettings, topic_name: str, tmp_path: Path
) -> None:
    with held_elsewhere(kafka_settings, topic_name, FOR_EVER_S, tmp_path) as holder:
        holder.kill()
        holder.wait()

        lease = lease_of(kafka_log, topic_name, tmp_path, FOR_EVER_S)
        lease.claim()
        lease.leave()


def test_who_left_in_good_order_is_followed_without_waiting(
    kafka_settings: LogSettings, kafka_log: Log, topic_name: str, tmp_path: Path
) -> None:
    first = lease_of(kafka_log, topic_name, tmp_path / "there", FOR_EVER_S)
    first.claim()
    first.leave()

    second = lease_of(open_log(kafka_settings), topic_name, tmp_path / "here", FOR_EVER_S)
    second.claim()
    second.leave()
