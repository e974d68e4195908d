"""What a benchmark says: figures with names, units and targets; printed and written as JSON."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One number. `at_most` or `at_least` is its target; neither: it has none and explains
    others."""

    name: str  # with the benchmark's: "scoring_full_speed.ratio_warm"
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def is_missed(self) -> bool:
        over = self.at_most is not None and self.value > self.at_most
        return over or (self.at_least is not None and self.value < self.at_least)

    def verdict(self) -> str:
        said = "MISSED" if self.is_missed else "ok"
        if self.at_most is not None:
            return f"{said}, at most {self.at_most:g}"
        if self.at_least is not None:
            return f"{said}, at least {self.at_least:g}"
        return ""


def print_figures(figures: Iterable[Figure]) -> None:
    table = Table("figure", "value", "unit", "target", box=None, pad_edge=False)
    for figure in figures:
        table.add_row(figure.name, f"{figure.value:,.3g}", figure.unit, figure.verdict())
    Console(width=120).print(table)


def write_figures(figures: Iterable[Figure], path: Path) -> None:
    """Each figure's number under its name, and what missed its target."""
    figures = list(figures)
    missed = [figure.name for figure in figures if figure.is_missed]
    numbers = {figure.name: figure.value for figure in figures}
    path.write_text(json.dumps({**numbers, "missed": missed}, indent=2) + "\n")
