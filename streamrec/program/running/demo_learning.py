"""What `demo --learning` does and shows."""

import tempfile
import time
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from streamrec.program.learning.metric_chart import Mark, check_can_draw, draw_png, text_chart
from streamrec.program.learning.metric_lines import lines_of
from streamrec.program.shared import CommandError, say
from streamrec.services.together.keeper import PartsError
from streamrec.shop.learning.figures import Figure
from streamrec.shop.learning.files import FROZEN, ONLINE, PIPELINES, RETRAINED
from streamrec.shop.learning.run import (
    METRIC,
    LearningDemoError,
    LearningRun,
    LearningVerdict,
    write_figures,
)
from streamrec.shop.learning.sending import Pace

_PACE = Pace(rate=150, before_s=40.0, after_s=60.0, outcome_s=(0.1, 1.5))
_TOLD = {
    FROZEN: "frozen: learned once from past offers",
    RETRAINED: "retrained: learned anew, again and again (LightGBM)",
    ONLINE: "online: learns from each outcome (river)",
}
_CHART_WIDTH, _CHART_ROWS = 100, 16


def run_learning_demo(seed: int, out: Path | None) -> None:
    """Run it, show what came of it, and write the figures and the picture. Raises CommandError."""
    if out is not None:
        check_can_draw()  # and not two minutes later
    began_s = time.monotonic()
    place = Path(tempfile.mkdtemp(prefix="streamrec-learning-"))
    try:
        found = LearningRun(place, seed, _PACE, say).run()
    except (LearningDemoError, PartsError) as error:
        raise CommandError(f"demo: {error}") from error
    console = Console()
    _show(console, found)
    _draw(console, found, out)
    console.print(f"All of it took {time.monotonic() - began_s:.0f} s; it is in {place}.")
    wrong = found.wrong()
    for each in wrong:
        say(f"demo: {each}")
    if wrong:
        raise typer.Exit(1)


def _show(console: Console, found: LearningVerdict) -> None:
    console.print(
        f"\n{found.told.offers:,} offers, {found.told.outcomes:,} of them taken; tastes shifted in "
        "mid-run, and nobody was told"
    )
    table = Table(f"{METRIC.upper()}, 95 % interval", "before", "after", "versions")
    for name in PIPELINES:
        before, after = (_text(found.figures[name][when]) for when in ("before", "after"))
        table.add_row(_TOLD[name], before, after, str(found.versions[name]))
    console.print(table)


def _draw(console: Console, found: LearningVerdict, out: Path | None) -> None:
    lines = lines_of(found.metrics, METRIC, names=PIPELINES)
    width = min(console.width, _CHART_WIDTH)
    marks = [Mark(found.told.shifted_ms, "tastes shift")]
    console.print(text_chart(lines, width, _CHART_ROWS, marks), highlight=False, markup=False)
    if out is None:
        return
    write_figures(out, found)
    picture = out.with_suffix(".png")
    draw_png(picture, lines, "Three models while tastes shift", METRIC.upper(), marks)
    console.print(f"The figures are in {out}, the picture in {picture}.")


def _text(figure: Figure) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
