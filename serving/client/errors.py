"""What a client raises.

ServingError
├── BadRequest          400 405 406 413 414 415 422 431: the request can never succeed as it is
├── AccessDenied        401 403: no token, a wrong one, or one without this right
├── NotFound            404: no such row, table or version
├── VersionUnavailable  410 412: the version is retired, or not there yet
├── RateLimited         429: over the tenant's rate; come back after `retry_after_s`
├── Overloaded          503: the server sheds load, drains or restarts
├── DeadlineExceeded    504, or the time ran out here
├── ConnectionFailed    no answer: nobody listens, or the connection broke
├── BadAnswer           an answer that cannot be read
└── ServerFault         500 and any other status
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ServingError(Exception):
    """A request to the serving tier failed.

    Attributes:
        code: stable word (`row_not_found`, `rate_limited`, …); the client's own are `deadline_exceeded`,
            `connection_failed` and `bad_answer`.
        status: of HTTP; 0 where no answer came.
        retryable: whether the same request may succeed later.
        retry_after_s: earliest time for that, in seconds from the answer; None where the server gave none.
        details: facts of the code.
        request_id: for the server's logs; None where no answer came.
        tries: how often the request was sent.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int = 0,
        retryable: bool = False,
        retry_after_s: float | None = None,
        details: Mapping[str, Any] | None = None,  # Any: JSON
        request_id: str | None = None,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.status = status
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.details = dict(details or {})
        self.request_id = request_id
        self.tries = 1

    def __reduce__(self) -> tuple[Any, ...]:  # Any: the pickle protocol
        return type(self), (self.code, self.message), self.__dict__

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class BadRequest(ServingError):
    """The request can never succeed as it is."""


class AccessDenied(ServingError):
    """No token, a wrong one, or one without this right."""


class NotFound(ServingError):
    """No such row, table or version."""


class VersionUnavailable(ServingError):
    """The version asked for is retired, or not there yet."""


class RateLimited(ServingError):
    """Over the tenant's rate."""


class Overloaded(ServingError):
    """The server sheds load, drains or restarts."""


class DeadlineExceeded(ServingError):
    """The time that the caller gave has run out."""


class ConnectionFailed(ServingError):
    """No answer came."""


class BadAnswer(ServingError):
    """An answer came that cannot be read."""


class ServerFault(ServingError):
    """The server failed."""


_BY_STATUS: dict[int, type[ServingError]] = {
    **dict.fromkeys((400, 405, 406, 408, 413, 414, 415, 422, 431), BadRequest),
    **dict.fromkeys((401, 403), AccessDenied),
    404: NotFound,
    **dict.fromkeys((410, 412), VersionUnavailable),
    429: RateLimited,
    503: Overloaded,
    504: DeadlineExceeded,
}


def error_class(status: int) -> type[ServingError]:
    """The class for a status of HTTP."""
    return _BY_STATUS.get(status, ServerFault)
