"""What may import what: rooms on floors, one import name, and an engine behind a wall."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import streamrec

ROOT = Path(__file__).parents[1]
# From the ground up: a room imports from its own floor and from those below.
FLOORS = (
    (
        "compiling",
        "user_code",
    ),
    ("schemas",),
    (
        "models.users",
        "models.keyed",
        "models.contract",
        "models.kinds",
        "models.artifact",
        "models.propensity",
    ),
    ("models",),
    ("services.metrics", "services.traces"),
    ("connectors",),
    ("services.store",),
    ("dataflows.errors", "dataflows.engine"),
    ("dataflows.job",),
    ("dataflows.steps",),
    ("dataflows",),
    ("services.http",),
    ("services",),
    ("shop",),
    ("program",),
    ("start", "__main__", "__init__"),
)
FLOWS = ("recommender", "scoring", "scorer", "gather", "store", "labels", "trainer", "evaluation")
ENGINE = ("dataflows.job.", "dataflows.engine.", *(f"dataflows.{name}" for name in FLOWS))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its name without `streamrec.`."""
    found = {}
    for top in ("streamrec", "connectors", "dataflows", "models", "schemas"):
        for path in (ROOT / top).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removeprefix("streamrec.").removesuffix(".__init__")] = path
    return found


def imported(path: Path, top: str = "streamrec") -> Iterator[str]:
    """Names of modules that a file imports when it runs, late imports too, types apart."""
    for node in _run(parsed(path).body):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == top:
            for alias in node.names:
                yield f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == top)


def _run(nodes: list[ast.stmt]) -> Iterator[ast.AST]:
    for node in nodes:
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            yield from _run(node.orelse)
        else:
            yield node
            yield from _run([n for n in ast.iter_child_nodes(node) if isinstance(n, ast.stmt)])


@cache
def arrows() -> set[tuple[str, str]]:
    """Which module imports which."""
    known = modules()
    found = set()
    for name, path in known.items():
        for target in imported(path):
            full = target.removeprefix("streamrec.")
            module = full if full in known else full.rpartition(".")[0]
            if module in known and module != name:
                found.add((name, module))
    return found


def floor_of(module: str) -> int:
    fits = [
        (len(room), floor)
        for floor, rooms in enumerate(FLOORS)
        for room in rooms
        if module == room or module.startswith(f"{room}.")
    ]
    assert fits, f"{module} stands in no room of FLOORS"
    return max(fits)[1]


def test_no_import_runs_up() -> None:
    up = sorted((a, b) for a, b in arrows() if "." in a and floor_of(a) < floor_of(b))
    assert up == []


def test_no_circle_between_files() -> None:
    known = arrows()
    below: dict[str, set[str]] = {}
    for a, b in known:
        below.setdefault(a, set()).add(b)
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, f"a circle: {' -> '.join((*way, module))}"
        if module not in done:
            for target in sorted(below.get(module, ())):
                visit(target, (*way, module))
            done.add(module)

    for module in sorted(below):
        visit(module, ())


def test_nothing_imports_a_dataflow_module() -> None:
    flows = {name for name in modules() if re.fullmatch(r"dataflows\.[a-z_]+", name)}
    flows -= {"dataflows.errors", "dataflows.engine", "dataflows.job", "dataflows.steps"}
    assert {"dataflows.recommender", "dataflows.scoring"} <= flows
    assert {(a, b) for a, b in arrows() if b in flows} == set()


def test_no_two_public_classes_under_one_name() -> None:
    places: dict[str, list[str]] = {}
    for module, path in modules().items():
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(module)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_only_dataflows_and_their_job_and_engine_rooms_import_the_engine() -> None:
    found = {name for name, path in modules().items() if set(imported(path, "bytewax"))}
    assert found
    assert {name for name in found if not name.startswith(ENGINE)} == set()


def test_models_import_no_terminal_library() -> None:
    for name, path in modules().items():
        if name.startswith("models."):
            assert not [*imported(path, "rich"), *imported(path, "typer")], name


def test_the_public_face_is_what_it_says() -> None:
    for name in streamrec.__all__:
        assert getattr(streamrec, name) is not None
    assert set(streamrec.__all__) == set(streamrec._MODULE_OF)
    for name in streamrec.__all__:
        assert f"`{name}`" in (streamrec.__doc__ or ""), f"{name} is not documented"
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = streamrec.Nothing


def python(code: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_streamrec_loads_nothing_heavy() -> None:
    heavy = ("bytewax", "numba", "lightgbm", "river", "sklearn", "pyarrow", "confluent_kafka")
    loaded = python(f"import sys, streamrec\nprint([n for n in {heavy!r} if n in sys.modules])")
    assert loaded.strip() == "[]"


WITHOUT_ENGINE = """
import sys
sys.modules["bytewax"] = None  # as if it were not installed
import numpy as np
from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.connectors.sink import LogSink, SinkOptions
from streamrec.connectors.source import LogSource, SourceOptions
from streamrec.dataflows.job.settings import load_settings
from streamrec.dataflows.steps.encode import recommendation_columns, session_columns
from streamrec.dataflows.steps.history import by_time, history_of
from streamrec.shop.history import SHOP_IDS, shop_history
from streamrec.dataflows.steps.recommend import Recommended, RecommendOptions, RecommendShard
from streamrec.dataflows.steps.decode import DecodeClicks
from streamrec.dataflows.steps.score import score_clicks, scoring_features
from streamrec.dataflows.steps.serving import Serving
from streamrec.dataflows.steps.user_features import user_features
from streamrec.models.loading import load_model
from streamrec.models.training.train import TrainingSettings, train
from streamrec.models.users.features import declared
from streamrec.schemas.wire import WireDecoder
from streamrec.dataflows.job.topics import CLICKS
from streamrec.shop.shop import Shop
from streamrec.connectors.log import NO_TIMESTAMP_MS, Detail, RawBatch

settings = load_settings()
features = declared(settings.windows)
decoder = WireDecoder(CLICKS.schema, lambda _: CLICKS.schema)
decode = DecodeClicks(lambda: decoder, len(features), 1, 10**9, features.digest)
shard = user_features(settings, features)()
asks = np.ones(8, np.bool_)
model = load_model("none")
recommend = RecommendShard(
    Serving(model, model.shared.info, np.zeros(0, np.int64)), RecommendOptions(asks, 5, "me")
)
answered = 0
for batch in Shop(seed=1, clicks=2_000, schema_ids=SHOP_IDS, broken_share=0.0).batches():
    detail = Detail(None, [], NO_TIMESTAMP_MS)
    times_ms = np.full(len(batch), detail.timestamp_ms)
    values = list(batch.values)
    raw = RawBatch("clicks", 0, np.arange(len(batch)), values, lambda _: detail, times_ms)
    out = recommend.on_batch(shard.update(decode([raw])))
    answered += sum(len(part.rows) for part in out if isinstance(part, Recommended))
    list(recommendation_columns([part for part in out if isinstance(part, Recommended)]))
history = by_time(shop_history(Shop(seed=1, clicks=4_000, schema_ids=SHOP_IDS), settings))
model = train(
    history.log, distinct=history.items, settings=TrainingSettings(budget_minutes=0.05, threads=1)
)
assert "bytewax.dataflow" not in sys.modules
print(answered, model.ranker is not None)
"""


def test_steps_models_connectors_and_training_run_without_the_engine() -> None:
    assert python(WITHOUT_ENGINE).strip() == "2000 True"
