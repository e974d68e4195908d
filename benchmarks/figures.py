"""What a benchmark says: figures with names, units and targets; printed and written as JSON."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One number. `at_most` is its target; None: it has none and explains others."""

    name: str  # with the benchmark's: "scoring_full_speed.ratio_warm"
    value: float
    unit: str
    at_most: float | None = None

    def verdict(self) -> str:
        if self.at_most is None:
            return ""
        return f"{'ok' if self.value <= self.at_most else 'MISSED'}, at most {self.at_most:g}"


def print_figures(figures: Iterable[Figure]) -> None:
    table = Table("figure", "value", "unit", "target", box=None, pad_edge=False)
    for figure in figures:
        table.add_row(figure.name, f"{figure.value:,.3g}", figure.unit, figure.verdict())
    Console(width=120).print(table)


def write_figures(figures: Iterable[Figure], path: Path) -> None:
    """Each figure's number under its name, and what missed its target."""
    figures = list(figures)
    missed = [f.name for f in figures if f.at_most is not None and f.value > f.at_most]
    numbers = {figure.name: figure.value for figure in figures}
    path.write_text(json.dumps({**numbers, "missed": missed}, indent=2) + "\n")
