from pathlib import Path

from streamrec.dataflows.job.topics import TOPICS
from tests.program.conftest import Shell


def test_create_makes_all_topics_and_registers_their_schemas(embedded_shell: Shell) -> None:
    answer = embedded_shell("topics", "create")
    assert answer.status == 0, answer.err
    assert embedded_shell("topics", "list").lines == sorted(topic.name for topic in TOPICS)
    described = embedded_shell("topics", "describe", "errors").out
    assert "8 partitions" in described
    assert "schema: errors-value, version 1" in described
    assert "retention.ms=1209600000" in described


def test_create_again_changes_nothing_and_says_what_differs(embedded_shell: Shell) -> None:
    embedded_shell("topics", "create")
    before = embedded_shell("topics", "describe").out
    again = embedded_shell(
        "topics", "create", "errors", "--partitions", "2", "--config", "retention.ms=5"
    )
    assert again.status == 0
    assert "partitions expected 2, got 8" in again.out
    assert "retention.ms expected 5, got 1209600000" in again.out
    assert embedded_shell("topics", "describe").out == before


def test_create_lets_a_topic_grow(embedded_shell: Shell) -> None:
    embedded_shell("topics", "create", "clicks")
    grown = embedded_shell("topics", "create", "clicks", "--partitions", "12")
    assert "from 8 to 12" in grown.out
    assert "12 partitions" in embedded_shell("topics", "describe", "clicks").out


def test_incompatible_schema_is_refused(embedded_shell: Shell, tmp_path: Path) -> None:
    embedded_shell("topics", "create", "clicks")
    schema = tmp_path / "click.avsc"
    field = '{"name": "shoe_size", "type": "int"}'
    schema.write_text(f'{{"type": "record", "name": "Click", "fields": [{field}]}}')
    answer = embedded_shell("topics", "create", "clicks", "--schema", str(schema))
    assert answer.status == 1
    assert "shoe_size" in answer.err


def test_delete_of_an_unknown_topic_deletes_none(embedded_shell: Shell) -> None:
    embedded_shell("topics", "create")
    answer = embedded_shell("topics", "delete", "clicks", "clocks", "--yes")
    assert answer.status == 1
    assert "clocks" in answer.err
    assert "clicks" in embedded_shell("topics", "list").lines


def test_delete_asks_first(embedded_shell: Shell) -> None:
    embedded_shell("topics", "create", "clicks")
    assert embedded_shell("topics", "delete", "clicks", stdin="n\n").status == 1
    assert embedded_shell("topics", "list").lines == ["clicks"]
    assert embedded_shell("topics", "delete", "clicks", stdin="y\n").status == 0
    assert embedded_shell("topics", "list").lines == []
