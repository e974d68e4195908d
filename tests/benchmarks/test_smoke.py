"""The benchmarks at tiny sizes: they come to an end, and name their figures as they promise."""

import json
from pathlib import Path

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, run_main

from benchmarks import index_plateau, keyed, main_job, scoring_full_speed, watching
from benchmarks.figures import Figure, write_figures
from benchmarks.place import embedded_place, kafka_place
from benchmarks.scorer import measure as scorer
from benchmarks.scorer import neighbours, throughput
from benchmarks.scorer.records import flowers
from benchmarks.timed_flow import Clock, timed_flow
from streamrec.connectors.log_settings import LogSettings


def test_file_holds_each_figure_under_its_name_and_what_missed(tmp_path: Path) -> None:
    figures = [
        Figure("a.ratio", 1.5, "x", 1.6),
        Figure("b.ratio", 2.0, "x", 1.6),
        Figure("c.rate", 3.0, "x", at_least=3.0),
        Figure("d.rate", 2.9, "x", at_least=3.0),
    ]

    write_figures(figures, tmp_path / "out.json")

    written = json.loads((tmp_path / "out.json").read_text())
    assert written.pop("missed") == ["b.ratio", "d.rate"]
    assert written == {"a.ratio": 1.5, "b.ratio": 2.0, "c.rate": 3.0, "d.rate": 2.9}
    assert [figure.verdict() for figure in figures[2:]] == ["ok, at least 3", "MISSED, at least 3"]


def test_timed_step_answers_as_before_and_is_counted() -> None:
    found: list[int] = []
    flow = Dataflow("doubling")
    numbers = op.input("numbers", flow, TestingSource([1, 2, 3]))
    doubled = op.flat_map_batch("double", numbers, lambda batch: [2 * n for n in batch])
    op.output("doubled", doubled, TestingSink(found))
    clock = Clock(warm_events=0)
    for index, step in enumerate(flow.substeps):
        if step.step_name == "double":  # the ends of this flow are not a log's
            part = Dataflow("part", [step])
            flow.substeps[index] = timed_flow(part, clock).substeps[0]

    run_main(flow)  # type: ignore[no-untyped-call]  # bytewax leaves it so

    assert found == [2, 4, 6]
    assert clock.calls["double"] >= 1


def test_an_index_at_its_bounds_grows_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    """As the documentation says of a run that takes minutes, on a hundredth of it."""
    arguments = ["--items", "20", "--sessions", "1024", "--clicks", "180000"]

    assert index_plateau.main(arguments) == 0

    rows = capsys.readouterr().out.splitlines()[1:]
    index_mb = [row.split()[1] for row in rows]
    assert len(index_mb) == 10
    assert len(set(index_mb[4:])) == 1, index_mb


def test_rows_by_key_are_measured_at_a_steady_number_of_them(tmp_path: Path) -> None:
    figures = keyed.run(embedded_place(tmp_path, lambda _: None), 20_000)

    by_name = {figure.name: figure for figure in figures}
    for held in (1_000, 20_000):
        name = f"keyed.rows_{held}"
        assert by_name[f"{name}.add_due_remove"].at_most == 1.0
        assert 0.005 < by_name[f"{name}.snapshot_1_percent_bytes"].value < 0.015
    rows, costs = keyed.at(held=20_000, events=60_000)
    assert 0.9 * 20_000 < len(rows) < 1.1 * 20_000
    assert min(costs) > 0


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_full_speed_gives_its_ratio(
    kafka_settings: LogSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kafka_settings.kafka_bootstrap_servers and kafka_settings.schema_registry_url
    monkeypatch.setattr(scoring_full_speed, "ROUNDS", 1)
    place = kafka_place(
        kafka_settings.kafka_bootstrap_servers,
        kafka_settings.schema_registry_url,
        tmp_path,
        lambda _: None,
    )

    # So many that the bare loop lasts for several samples, also where another test takes the time.
    figures = scoring_full_speed.run(place, 600_000)

    by_name = {figure.name: figure for figure in figures}
    assert by_name["scoring_full_speed.ratio_warm"].value > 0
    assert by_name["scoring_full_speed.ratio_warm"].at_most == 1.6


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_scorer_gives_its_figures_without_contenders(
    kafka_settings: LogSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    assert kafka_settings.kafka_bootstrap_servers and kafka_settings.schema_registry_url
    monkeypatch.setattr(throughput, "ROUNDS", 1)
    monkeypatch.setattr(throughput, "RIVALS", {})
    monkeypatch.setattr(neighbours, "SECONDS", 1.0)
    place = kafka_place(
        kafka_settings.kafka_bootstrap_servers,
        kafka_settings.schema_registry_url,
        tmp_path,
        said.append,
    )

    figures = [
        *scorer.from_json(place, "iris", flowers, 40_000, {"species": "setosa"}),
        *neighbours.slow_beside_fast(place, scorer.NAME),
    ]

    by_name = {figure.name: figure for figure in figures}
    assert "no contenders here: ours only" in said
    assert by_name["scorer.iris.beyond_the_call"].at_most == 15.0
    assert by_name["scorer.iris.where.check in"].value > 0
    assert by_name["scorer.beside_slow.p99"].at_most == 200.0


def test_what_it_costs_to_be_seen_is_a_small_part_of_what_a_job_does(tmp_path: Path) -> None:
    place = embedded_place(tmp_path, lambda _: None)
    clicks = place.make_topic("clicks")
    main_job.fill_from_shop(place, clicks, 2_000)

    spent = watching.spent_of(place, clicks, 2_000)

    assert 0.0 < spent["counting"] < 0.2  # so few events say little
    assert spent["us"] > 0.0
