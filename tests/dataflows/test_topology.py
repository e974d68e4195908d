"""The printed topology: what it says of any dataflow, and that the page in the docs says it too."""

import re
from pathlib import Path

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource

from streamrec.dataflows.job.modules import FlowError, on_paper
from streamrec.dataflows.job.topology import describe

PAGE = Path(__file__).parents[2] / "docs" / "topology.md"
DATAFLOWS = (
    *("dataflows.recommender", "dataflows.scoring", "dataflows.store"),
    "dataflows.evaluation",
    "dataflows.trainer",
)
LEARNING = """
[[models]]
pipeline = "recommender"
[[models]]
pipeline = "adult"
"""


@pytest.mark.parametrize("module", DATAFLOWS)
def test_page_in_docs_shows_the_dataflow_as_it_is(module: str, tmp_path: Path) -> None:
    learning = tmp_path / "learning.toml"
    learning.write_text(LEARNING)
    section = PAGE.read_text().split(f"## `{module}`")[1].split("\n## ")[0]
    blocks = dict(re.findall(r"```(mermaid|text)\n(.*?)```", section, re.DOTALL))

    _, flow = on_paper(module, learning=str(learning))
    topology = describe(flow)

    assert blocks["text"] == topology.text()
    assert blocks["mermaid"] == topology.mermaid()


def test_branches_and_merges_are_arrows_that_carry_the_name_of_their_second_stream() -> None:
    flow = Dataflow("sorting")
    words = op.input("words", flow, TestingSource(["a", "bb"]))
    first = op.branch("long", words, lambda word: len(word) < 2)
    second = op.branch("upper", first.falses, str.islower)
    shouted = op.map("shout", op.merge("all", first.trues, second.trues), str.upper)
    op.output("short", shouted, TestingSink([]))
    op.output("names", second.falses, TestingSink([]))

    assert describe(flow).text() == (
        "Dataflow: sorting\n"
        "  Source: words\n"
        "    --> shout\n"
        "    --> shout (long)\n"
        "    --> names (long, upper)\n"
        "  Step: shout\n"
        "    --> short\n"
        "    <-- words\n"
        "    <-- words (long)\n"
        "  Sink: short\n"
        "    <-- shout\n"
        "  Sink: names\n"
        "    <-- words (long, upper)\n"
    )


def test_step_made_of_a_stateful_step_is_shown_to_keep_state() -> None:
    flow = Dataflow("counting")
    words = op.input("words", flow, TestingSource(["a"]))
    counts = op.count_final("count", words, str)
    op.output("counts", counts, TestingSink([]))

    topology = describe(flow)

    assert "  Step: count (state by key: 'counting.count')\n" in topology.text()
    assert '    step_count[["count"]]\n' in topology.mermaid()


def test_name_that_is_no_module_is_named() -> None:
    with pytest.raises(FlowError, match=r"dataflow expected a module .*, got 'dataflows\.no'"):
        on_paper("dataflows.no")


def test_module_without_a_dataflow_is_told_what_is_missing() -> None:
    with pytest.raises(FlowError, match=r"'dataflows\.job\.topics' expected .* got no build_flow"):
        on_paper("dataflows.job.topics")
