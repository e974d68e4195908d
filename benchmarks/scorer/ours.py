"""Ours, on a list of models that is written for a run."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.place import Place
from benchmarks.processes import BenchmarkError

MODULE = "dataflows.scorer"
SERVED = Path(__file__).parent / "served"  # modules of the models, outside of the package
Table = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Served:
    """Models on topics of their own, which have been made."""

    environment: Mapping[str, str]
    prefix: str

    def topic(self, name: str, kind: str, version: str = "1.0") -> str:
        """`kind` is inputs, outputs, errors or shadows."""
        return f"{self.prefix}.{name}.{version}.{kind}"

    def delete_topics(self, place: Place) -> None:
        """All that were made for them."""
        with closing(place.log.admin()) as admin:
            names = [name for name in admin.topics() if name.startswith(f"{self.prefix}.")]
        place.delete_topics(*names)

    def following(self) -> dict[str, str]:
        """The same for a dataflow that goes on for ever."""
        return {**self.environment, "STREAMREC_FOLLOW": "true"}


def serve(
    place: Place, run: str, models: Sequence[Table] = (), experiments: Sequence[Table] = ()
) -> Served:
    """Write the list and make its topics. `run` makes its prefix another than any before; the
    dataflow reads what is there and ends."""
    prefix = f"{place.prefix}.{run}"
    path = place.folder / f"{run}.toml"
    path.write_text(_toml({"prefix": prefix}, {"models": models, "experiments": experiments}))
    environment = place.process_environment(
        models=path, consumer_group=prefix, start_from="earliest", follow=False
    )
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(SERVED), *filter(None, [environment.get("PYTHONPATH")])]
    )
    made = subprocess.run(
        [sys.executable, "-m", "streamrec", "topics", "create", "--dataflow", MODULE],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise BenchmarkError(f"making the topics of {run}: {made.stdout}{made.stderr}")
    return Served(environment, prefix)


def _toml(top: Table, lists: Mapping[str, Sequence[Table]]) -> str:
    """What the lists here need of TOML."""
    lines = [f"{key} = {_value(value)}" for key, value in top.items()]
    for name, tables in lists.items():
        for table in tables:
            lines.append(f"[[{name}]]")
            lines += [f"{key} = {_value(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(k)} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)  # strings, numbers, true and false are written alike
