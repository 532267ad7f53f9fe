"""Which failures a client meets by sending again, when, and what all others become."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypedDict, TypeVar

import httpx
from tenacity import (
    RetryCallState,
    retry_if_exception_type,
    stop_after_delay,
    stop_before_delay,
    wait_fixed,
    wait_random_exponential,
)
from tenacity.retry import retry_base
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from pagoda.client.calls import Call
from pagoda.errors import ConfigError, PagodaError, RequestError, UnavailableError

_FIRST_SECONDS, _MOST_SECONDS = 0.2, 5.0
_REFUSED = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
"""Said before anything was taken."""
_UNKNOWN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT)
"""Said by what stands before a service, which does not know what became of the request."""
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_SHOWN = 500
T = TypeVar("T")


class AgainError(UnavailableError):
    """No answer, and the same may be sent again."""

    def __init__(self, text: str, after: float = 0.0) -> None:
        """Make one; `after`: seconds that the service asks to wait at least."""
        super().__init__(text)
        self.after = after


class RetryPolicy(TypedDict):
    """How tenacity is to retry; the same for callers that block and for those that do not."""

    retry: retry_base
    wait: wait_base
    stop: stop_base
    reraise: bool


def policy(patience: float) -> RetryPolicy:
    """Send again what may be, as long as the next try begins within `patience` seconds of the first."""
    return {
        "retry": retry_if_exception_type(AgainError),
        "wait": _Waiting(multiplier=_FIRST_SECONDS, max=_MOST_SECONDS),
        "stop": stop_before_delay(patience),
        "reraise": True,
    }


def until_ready(seconds: float) -> RetryPolicy:
    """Ask again all the time."""
    return {
        "retry": retry_if_exception_type(AgainError),
        "wait": wait_fixed(0.2),
        "stop": stop_after_delay(seconds),
        "reraise": True,
    }


class _Waiting(wait_random_exponential):
    """Anything up to a bound that doubles, so that callers whom one failure hit do not come back together; and never
    before the moment that the service named."""

    def __call__(self, retry_state: RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        return super().__call__(retry_state) + (error.after if isinstance(error, AgainError) else 0.0)


def failed(call: Call[Any], url: str, error: httpx.TransportError) -> PagodaError:
    """What it means that no answer came."""
    if isinstance(root := _root(error), ssl.SSLCertVerificationError):
        return ConfigError(f"{url}: {root.verify_message}; verify=… names the file of a private authority")
    said = f"{url}{call.path}: {str(error) or type(error).__name__}"
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return ConfigError(f"{said}; a URL begins with http:// or https://, and a token is one line")
    if call.repeatable or isinstance(error, _NOT_SENT):
        return AgainError(said)
    return UnavailableError(f"{said}; it may have been taken all the same")


def read(call: Call[T], url: str, answer: httpx.Response) -> T:
    """What a call gives.

    Raises:
        RequestError: It was refused; the message names the field.
        ConfigError: The token is missing, or of another role.
        AgainError: It was not taken, or may be sent again all the same.
        UnavailableError: It failed, or the answer is none of the service's.
    """
    if not answer.is_success:
        raise _refusal(call, url, answer)
    try:
        return call.read(answer.json())
    except (ValueError, KeyError, TypeError) as error:
        raise UnavailableError(
            f"{url}{call.path}: what came back is no answer of Pagoda's ({_first_line(error)}); is the URL right?"
        ) from error


def check_ready(url: str, answer: httpx.Response) -> None:
    """Raise AgainError where a service does not say that it is ready."""
    try:
        ready = answer.json()["ready"]
    except (ValueError, KeyError, TypeError):
        ready = False
    if not ready:
        raise not_ready(url)


def not_ready(url: str) -> AgainError:
    """What it means that a service does not say so."""
    return AgainError(f"recall service at {url} is not ready; see its log")


def _refusal(call: Call[Any], url: str, answer: httpx.Response) -> PagodaError:
    text, status = _said(answer), answer.status_code
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return ConfigError(
            f"{url}{call.path}: {text}; pass token=…, or set PAGODA_TOKEN, or PAGODA_HOME to the installation's home "
            f"(the role is `{call.role}`)"
        )
    said = f"{url}{call.path}: {status} {text}"
    if status in _REFUSED or (status in _UNKNOWN and call.repeatable):
        return AgainError(said, _seconds(answer.headers.get("retry-after", "")))
    if status in _UNKNOWN:
        return UnavailableError(f"{said}; it may have been taken all the same")
    return RequestError(text) if status < HTTPStatus.INTERNAL_SERVER_ERROR else UnavailableError(said)


def _said(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return (answer.text.strip() or answer.reason_phrase)[:_SHOWN]


def _seconds(header: str) -> float:
    """`Retry-After`: seconds, or a date (RFC 9110, section 10.2.3); what is neither asks for nothing."""
    try:
        if header.strip().isdecimal():
            return float(header)
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # A date without a zone, too.
        return 0.0


def _root(error: BaseException) -> BaseException:
    """What an error came of in the end: httpx and httpcore each wrap it."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:_SHOWN]
