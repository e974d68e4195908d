"""Why an item is there, in words: what the methods are that have proposed it."""

from collections.abc import Iterator, Sequence

WORDS = {
    "repeat": "the user has looked at it in this session",
    "knn": "it was clicked in sessions that share items with this one",
    "suffix": "it was clicked right after the same items in other sessions",
    "rules": "it is often clicked after the session's last items",
    "near": "it is often clicked close to the session's last items",
    "two_hop": "it is often clicked with what is clicked with the session's last item",
    "popular": "many click it now",
}
FILLED = "nothing better is left: many click it now"


def method_names(bits: int, names: Sequence[str]) -> list[str]:
    """The methods of a bit set.

    >>> method_names(5, ["repeat", "knn", "suffix"])
    ['repeat', 'suffix']
    """
    return [name for place, name in enumerate(names) if bits >> place & 1]


def reasons(methods: Sequence[str]) -> Iterator[str]:
    """A sentence for each method; one that is not known here, of somebody's model, by its name."""
    for method in methods:
        yield WORDS.get(method, f"the method {method} proposed it")


__all__ = ["FILLED", "WORDS", "method_names", "reasons"]
