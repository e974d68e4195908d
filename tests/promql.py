"""Which metrics and labels a PromQL query names. For queries as ours are, not for all of PromQL."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTOR = re.compile(r"\{([^{}]*)\}")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)")
_RANGE = re.compile(r"\[[^\]]*\]")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_CALLED = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)\s*\(")
_JOIN = re.compile(r"(?:\b(?:and|or|unless)|[-+*/%^]|[<>=!]=|[<>])\s+on\s*\(([^()]*)\)")
_SUMMED = re.compile(r"\b(?:sum|min|max|avg|count)\b\s*(?:by\s*\(([^()]*)\))?")
_WORDS = {
    *("and", "or", "unless", "bool", "offset"),
    *("sum", "min", "max", "avg", "count"),  # may stand before `by (...)`
}


@dataclass(frozen=True, slots=True)
class Names:
    metrics: frozenset[str]
    labels: frozenset[str]


def names_in(query: str) -> Names:
    """
    >>> found = names_in('sum by (topic) (rate(read_total{dataflow=~"a|b"}[5m])) > 3')
    >>> sorted(found.metrics), sorted(found.labels)
    (['read_total'], ['dataflow', 'topic'])
    """
    text = _STRING.sub('""', query)
    labels: set[str] = set()
    for selector in _SELECTOR.findall(text):
        labels.update(_NAME.findall(selector))
    text = _SELECTOR.sub("", text)
    for grouping in _GROUPING.findall(text):
        labels.update(_NAME.findall(grouping))
    text = _RANGE.sub("", _GROUPING.sub(" ", text))
    called = set(_CALLED.findall(text))
    metrics = set(_NAME.findall(text)) - called - _WORDS
    assert metrics, f"no metric in {query!r}"
    return Names(frozenset(metrics), frozenset(labels))


def joins_in(query: str) -> Iterator[tuple[frozenset[str], str, str]]:
    """The labels of each `on (...)`, and what is joined by them.

    >>> list(joins_in("a == 1 and on (instance) b"))
    [(frozenset({'instance'}), 'a == 1 ', ' b')]
    """
    for match in _JOIN.finditer(query):
        labels = frozenset(_NAME.findall(match[1]))
        yield labels, query[: match.start()], query[match.end() :]


def labels_of(side: str, known: Mapping[str, set[str]]) -> set[str]:
    """The labels that one side of a join has, where each metric has those that are known.

    >>> known = {"a": {"x", "y"}}
    >>> sorted(labels_of("rate(a[5m])", known)), labels_of("time() - max by (y) (a)", known)
    (['x', 'y'], {'y'})
    """
    summed = [set(_NAME.findall(by)) for by in _SUMMED.findall(side)]
    return set.intersection(*(summed or [known[name] for name in names_in(side).metrics]))
