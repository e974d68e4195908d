"""Models in processes of their own, as the step `score` asks them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streamrec.dataflows.serving.pipelines import Variant
from streamrec.models.serving.apart.predictor import ApartPredictor
from streamrec.models.serving.apart.settings import Limits, Plan
from streamrec.models.serving.apart.shadow import shadow_predictor
from streamrec.models.serving.apart.tickets import Line
from streamrec.models.serving.apart.tickets import Ticket as ApartTicket
from streamrec.models.serving.contract import Answer, Fault, Input

_LOADER = "streamrec.models.serving.loading:load_in"


def apart_predictor(variant: Variant, folder: Path, label: str) -> ApartPredictor:
    """Made at once; it loads while others do."""
    limits = Limits(variant.timeout_s, variant.memory_mb, variant.cut_ms)
    plan = Plan(_LOADER, (str(folder), variant.model), str(folder))
    if variant.shadow:
        return shadow_predictor(plan, limits, label)
    return ApartPredictor(plan, limits, label)


@dataclass(frozen=True, slots=True)
class ApartModel:
    """Keeps `running.Apart`."""

    predictor: ApartPredictor

    def submit(self, inputs: Sequence[Input]) -> "_Ticket":
        # A line of its own: whoever asks looks at the ticket itself.
        return _Ticket(self.predictor, self.predictor.submit(inputs, line=Line()))


@dataclass(frozen=True, slots=True)
class _Ticket:
    predictor: ApartPredictor
    ticket: ApartTicket

    def answered(self) -> tuple[list[Answer | Fault], float] | None:
        """Raises as `check`: a model that cannot be had would be awaited for ever."""
        if self.ticket.left:
            self.predictor.check()
            return None
        return self.ticket.answers, self.ticket.took_s


__all__ = ["ApartModel", "apart_predictor"]
