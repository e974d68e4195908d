"""Models in processes of their own, as the step `score` asks them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streamrec.dataflows.serving.pipelines import Variant
from streamrec.models.serving.apart.predictor import ApartPredictor
from streamrec.models.serving.apart.settings import Limits, Plan
from streamrec.models.serving.apart.tickets import Line
from streamrec.models.serving.apart.tickets import Ticket as ApartTicket
from streamrec.models.serving.contract import Answer, Fault, Input

_LOADER = "streamrec.models.serving.loading:load_predictor"
_GIVES_WAY = 10  # niceness of a shadow


def apart_predictor(variant: Variant, folder: Path, label: str) -> ApartPredictor:
    """Made at once; it loads while others do."""
    limits = Limits(
        timeout_s=variant.timeout_s,
        memory_mb=variant.memory_mb,
        cut_ms=variant.cut_ms,
        nice=_GIVES_WAY if variant.shadow else 0,
    )
    plan = Plan(_LOADER, (variant.model,), str(folder))
    return ApartPredictor(plan, limits, label)


@dataclass(frozen=True, slots=True)
class ApartModel:
    """Keeps `running.Apart`."""

    predictor: ApartPredictor

    def submit(self, inputs: Sequence[Input]) -> "_Ticket":
        # A line of its own: whoever asks looks at the ticket itself.
        return _Ticket(self.predictor.submit(inputs, line=Line()))


@dataclass(frozen=True, slots=True)
class _Ticket:
    ticket: ApartTicket

    def answered(self) -> tuple[list[Answer | Fault], float] | None:
        return None if self.ticket.left else (self.ticket.answers, self.ticket.took_s)


__all__ = ["ApartModel", "apart_predictor"]
