"""The examples in docstrings say what comes out."""

import doctest
import importlib

import pytest

from tests.test_rooms import modules

WITH_EXAMPLES = sorted(name for name, path in modules().items() if ">>> " in path.read_text())


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_of_a_module_come_out_as_they_say(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"streamrec.{name}"))
    assert found.attempted > 0
    assert found.failed == 0
