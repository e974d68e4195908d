"""Whatever test a page names is there."""

import re
from functools import cache
from pathlib import Path

import pytest

from tests.docs.pages import DOCS

ROOT = DOCS.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md"))]
NAMED = re.compile(r"\b(test_\w+)\b(?!\.py|/)")
FILES = re.compile(r"\b(?:tests|benchmarks)/[\w/]+\.py\b")


@cache
def existing() -> frozenset[str]:
    """Test functions and test modules, by name."""
    files = list((ROOT / "tests").rglob("*.py"))
    found = {path.stem for path in files}
    for path in files:
        found.update(re.findall(r"^ *def (test_\w+)\(", path.read_text(), re.MULTILINE))
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    own = set(re.findall(r"^ *def (test_\w+)\(", text, re.MULTILINE))  # shown as an example
    assert [name for name in NAMED.findall(text) if name not in existing() | own] == []
    assert [name for name in FILES.findall(text) if not (ROOT / name).exists()] == []


def test_pages_name_tests() -> None:
    assert sum(len(NAMED.findall(page.read_text())) for page in PAGES) > 20
