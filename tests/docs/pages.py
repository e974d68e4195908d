"""Pages of the documentation as a reader follows them: their files, and their commands."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from streamrec.connectors.backend import open_log
from streamrec.connectors.log_settings import LogSettings

DOCS = Path(__file__).parents[2] / "docs"
STREAMREC = Path(sys.executable).with_name("streamrec")  # the installed script, as readers call it


def blocks(page: str, language: str) -> list[str]:
    """The code of a page, in order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


class Reader:
    """Somebody who follows a page in a folder of their own."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("STREAMREC_", "BYTEWAX_", "KAFKA_", "SCHEMA_", "PYTHONPATH"))
        }
        self.environment = {**kept, **environment}

    def count(self, topic: str) -> int:
        """How many records a topic holds, without a command's start each time."""
        settings = LogSettings(
            kafka_bootstrap_servers=self.environment.get("KAFKA_BOOTSTRAP_SERVERS"),
            kafka_options={},
            embedded_log_path=self.folder / "data" / "log.sqlite",
        )
        with closing(open_log(settings).admin()) as admin:
            return sum(bounds.high - bounds.low for bounds in admin.bounds(topic).values())

    def run(
        self, *command: str, given: str = "", status: int = 0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `streamrec ...` to its end; its status must be the one expected."""
        assert command[0] == "streamrec", command
        done = subprocess.run(
            [str(STREAMREC), *command[1:]],
            cwd=self.folder,
            env={**self.environment, **variables},
            input=given,
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == status, f"{command}: {done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def start(self, *command: str, **variables: str) -> "subprocess.Popen[bytes]":
        """Start `streamrec ...`; what it prints is in the folder, in out.log."""
        assert command[0] == "streamrec", command
        with (self.folder / "out.log").open("ab") as out:
            return subprocess.Popen(
                [str(STREAMREC), *command[1:]],
                cwd=self.folder,
                env={**self.environment, **variables},
                stdout=out,
                stderr=out,
            )


def assert_test_passes_and_can_fail(
    reader: Reader, name: str, harm: tuple[str, str], told: str
) -> None:
    """The page's test of its module `name`, whose files are in the reader's folder: it passes, and
    fails so when in the module one text stands for another."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"test_{name}.py"]

    def tested() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command,
            cwd=reader.folder,
            env=reader.environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    passed = tested()
    assert passed.returncode == 0, passed.stdout + passed.stderr
    module = reader.folder / f"{name}.py"
    text = module.read_text(encoding="utf-8")
    assert harm[0] in text
    module.write_text(text.replace(*harm), encoding="utf-8")
    assert told in tested().stdout


def where(settings: LogSettings | None, topics: Mapping[str, str], group: str) -> dict[str, str]:
    """Variables for a log (None: the embedded one in the folder), with topics of its own."""
    found = {f"STREAMREC_{name.upper()}_TOPIC": topic for name, topic in topics.items()}
    found["STREAMREC_CONSUMER_GROUP"] = group
    if settings is not None:
        assert settings.kafka_bootstrap_servers and settings.schema_registry_url
        found["KAFKA_BOOTSTRAP_SERVERS"] = settings.kafka_bootstrap_servers
        found["SCHEMA_REGISTRY_URL"] = settings.schema_registry_url
        found |= {
            f"KAFKA_OPTION_{name.upper().replace('.', '_')}": secret.get_secret_value()
            for name, secret in settings.kafka_options.items()
        }
    return found
