"""What went wrong with a request, as RFC 9457 has it: `application/problem+json`.

A problem never holds a secret, a body or a traceback: only where, what was expected, and what came.
"""

from typing import Any

from streamrec.services.http.replies import HeaderPairs, Reply, json_bytes

PROBLEM_TYPE = b"application/problem+json"

TITLES = {
    400: "bad request",
    401: "no valid key",
    403: "not allowed",
    404: "not found",
    405: "method not allowed",
    408: "body too slow",
    409: "conflict",
    413: "too large",
    415: "unsupported content type",
    422: "does not fit",
    429: "too many requests",
    500: "internal error",
    503: "unavailable",
    504: "no answer in time",
}


class Problem(Exception):
    """A request cannot be answered as asked. `field` names what does not fit (422), `place` where
    a text breaks (400), `more` are further members of the object, for this kind of problem."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        field: str | None = None,
        place: str | None = None,
        retry_after_s: int | None = None,
        headers: HeaderPairs = (),
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.field = field
        self.place = place
        self.retry_after_s = retry_after_s
        self.headers = headers
        self.more = more

    def as_object(self) -> dict[str, Any]:
        """The members of the problem, for a body or for one result of a list."""
        found: dict[str, Any] = {
            "title": TITLES.get(self.status, "error"),
            "status": self.status,
            "detail": self.detail,
        }
        if self.field is not None:
            found["field"] = self.field
        if self.place is not None:
            found["place"] = self.place
        return found | self.more

    def reply(self) -> Reply:
        """The answer that says it."""
        headers = list(self.headers)
        if self.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % self.retry_after_s))
        return Reply(self.status, json_bytes(self.as_object()), PROBLEM_TYPE, headers)


__all__ = ["PROBLEM_TYPE", "TITLES", "Problem"]
