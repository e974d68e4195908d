"""How often a caller may come: a token bucket for each key, and one for each address."""

import math
from collections import OrderedDict

_BUCKETS = 100_000  # the oldest goes first: whoever has not come for so long has a full one anyway


class Rates:
    """Buckets of `per_s` a second that hold `burst`, by name. `per_s` 0: as often as they like.

    >>> rates = Rates(per_s=2.0, burst=1.0)
    >>> rates.wait_s("me", now_s=10.0), rates.wait_s("me", now_s=10.0), rates.wait_s("me", 10.5)
    (0, 1, 0)
    """

    def __init__(self, per_s: float, burst: float, buckets: int = _BUCKETS) -> None:
        self._per_s = per_s
        self._burst = max(1.0, burst)
        self._buckets = buckets
        # By name: when the bucket will be full again, which says how much is in it at any time.
        self._full_at_s: OrderedDict[str, float] = OrderedDict()

    @property
    def is_on(self) -> bool:
        return self._per_s > 0

    def wait_s(self, name: str, now_s: float, cost: float = 1.0) -> int:
        """Take `cost` tokens. 0: they were there; else in how many seconds they may be, and nothing
        was taken. A cost above the burst is the burst, so that it can ever be paid."""
        cost = min(cost, self._burst)
        missing_s = max(0.0, self._full_at_s.get(name, 0.0) - now_s)
        there = self._burst - missing_s * self._per_s
        if there < cost - 1e-9:
            return max(1, math.ceil((cost - there) / self._per_s))
        self._full_at_s[name] = now_s + missing_s + cost / self._per_s
        self._full_at_s.move_to_end(name)
        if len(self._full_at_s) > self._buckets:
            self._full_at_s.popitem(last=False)
        return 0


__all__ = ["Rates"]
