"""Inputs that were handed in together, and their answers in the order in which they were."""

from collections import deque
from collections.abc import Sequence
from typing import Any

from streamrec.models.serving.contract import Answer, Fault, Input


class Ticket:
    """Of some inputs. `tag` is the caller's own."""

    __slots__ = ("answers", "inputs", "left", "submitted_s", "tag", "took_s")

    def __init__(self, inputs: Sequence[Input], tag: Any, submitted_s: float) -> None:
        self.inputs = inputs
        self.tag = tag
        self.submitted_s = submitted_s  # by time.monotonic()
        self.took_s = 0.0  # of the model: each record's share of its batch, summed
        self.answers: list[Answer | Fault] = [None] * len(inputs)
        self.left = len(inputs)  # not answered yet


Finished = list[tuple[Ticket, list[Answer | Fault]]]


class Line:
    """Tickets of one caller."""

    def __init__(self) -> None:
        self.tickets: deque[Ticket] = deque()

    def finished(self) -> Finished:
        """Those answered that have none unanswered before them, once."""
        found: Finished = []
        while self.tickets and not self.tickets[0].left:
            ticket = self.tickets.popleft()
            found.append((ticket, ticket.answers))
        return found


__all__ = ["Finished", "Line", "Ticket"]
