"""What a valid click is, beyond its schema: for the step `decode`, and for whoever takes clicks in.

Apart from the step, which brings kernels with it.
"""

from streamrec.dataflows.steps.rules import Between, EventTime, Rule, TextLength

MAX_ID_BYTES = 256
MAX_PRICE_CENTS = 10**12  # so that a session's sum cannot overflow

RULES: tuple[Rule, ...] = (
    TextLength("user_id", 1, MAX_ID_BYTES),
    TextLength("item_id", 1, MAX_ID_BYTES),
    EventTime("timestamp"),
    Between("price_cents", 0, MAX_PRICE_CENTS),
)

__all__ = ["MAX_ID_BYTES", "MAX_PRICE_CENTS", "RULES"]
