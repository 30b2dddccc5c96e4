"""What the gateway answers when it does not do what it was asked: a status, a stable reason, and words."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web
from msgspec import Struct

from headrace.api.runs import NothingToDo, NotThere, NotUnderstood
from headrace.errors import PermanentError, TemporaryError


class ErrorDetail(Struct, frozen=True):
    """`reason`: one word for programs; `message`: cause and way out, for people."""

    reason: str
    message: str


class ErrorAnswer(Struct, frozen=True):
    """The body of every answer that is no success."""

    error: ErrorDetail


class RequestError(PermanentError):
    """A request that is not done, with its HTTP status."""

    def __init__(self, status: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.headers = dict(headers or {})


def unauthorized(message: str) -> RequestError:
    """401: nobody that the cluster knows."""
    return RequestError(401, "Unauthorized", message, {"WWW-Authenticate": 'Bearer realm="headrace"'})


def forbidden(message: str) -> RequestError:
    """403: somebody who may not."""
    return RequestError(403, "Forbidden", message)


def not_found(message: str) -> RequestError:
    """404: it is not there."""
    return RequestError(404, "NotFound", message)


def bad_request(message: str) -> RequestError:
    """400: not understood."""
    return RequestError(400, "BadRequest", message)


def as_request_error(error: Exception) -> RequestError:
    """Any error as what is answered. The text of one that is a defect stays in the log."""
    match error:
        case RequestError():
            return error
        case web.HTTPException():
            return RequestError(error.status, error.reason.replace(" ", ""), f"{error.status} {error.reason}")
        case TimeoutError():
            return RequestError(503, "Timeout", "it took too long: try again")
        case NotThere():
            return not_found(str(error))
        case NothingToDo():
            return RequestError(422, "Refused", str(error))
        case NotUnderstood():
            return RequestError(422, "NotUnderstood", str(error))
        case PermanentError():
            return RequestError(422, "Refused", str(error))
        case TemporaryError():
            return RequestError(503, "Unavailable", f"try again: {error}", {"Retry-After": "2"})
        case _:
            pass
    return RequestError(500, "InternalError", "the gateway has a defect: its log has the details under the request id")
