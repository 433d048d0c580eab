"""HTTP over loopback or a Unix socket, HTTPS elsewhere, with deadlines, and problems turned back into errors.

Owns address forms, timeouts and the mapping from an HTTP answer to the errors
of `controller/errors.py`. Must not know any endpoint: `client.py` (anybody to
an agent) and `peers.py` (agent to agent) do.
"""

from __future__ import annotations

import errno
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast

import httpx
from pydantic import ValidationError

from controller.addresses import SITE_HEADER, parse_listener
from controller.api.models import Problem, Shape
from controller.api.shape import reader
from controller.errors import BY_NAME, IntegrityError, PairvolError, PeerError, WrongSiteError
from controller.exchange import exchange, transport
from controller.tls import Certificates, context_for, words_of

# Below the five seconds after which our servers close an idle connection: none is used that is just being closed.
KEEP_ALIVE_SECONDS: Final = 3.0
REQUEST_SECONDS: Final = 2.0

Answer = TypeVar("Answer")


class Channel:
    """One kept-alive client to one daemon. Threads may share it.

    `address` is `http://HOST:PORT`, `https://HOST:PORT` or
    `unix:/path/of/socket`; `who` names the other end in messages ("host agent
    of osaka"), `site` the one that it must be of: another one refuses what is
    sent.
    """

    def __init__(
        self,
        address: str,
        who: str,
        *,
        request_seconds: float = REQUEST_SECONDS,
        prefix: str = "",
        site: str | None = None,
        certificates: Certificates | None = None,
    ) -> None:
        self.address = address
        self.prefix = prefix  # of a stand-in behind another agent's address
        self.who = who
        self.request_seconds = request_seconds
        parsed = parse_listener(address)
        self._tls = parsed.tls
        limits = httpx.Limits(keepalive_expiry=KEEP_ALIVE_SECONDS)
        way = transport(context_for(parsed, certificates), parsed.path, limits)
        # No proxies from the environment: control messages go where the configuration says, or nowhere.
        self._client = httpx.Client(
            base_url=parsed.url,
            transport=way,
            trust_env=False,
            headers={SITE_HEADER: site} if site is not None else None,
        )

    def call(
        self,
        kind: type[Answer],
        method: str,
        path: str,
        *,
        body: Shape | None = None,
        query: dict[str, Any] | None = None,
        seconds: float | None = None,
    ) -> Answer:
        """Send one request; the answer as `kind` (a shape or a list of shapes).

        `seconds` bounds each wait for the other end, and all of it is bounded
        too (controller/exchange.py).
        Raises what the other end raised, or PeerError when it does not answer.
        """
        response = self.send(method, path, body=body, query=query, seconds=seconds)
        try:
            return cast(Answer, reader(cast(Any, kind)).validate_json(response.content))
        except ValidationError as error:
            raise IntegrityError(
                f"{self.who} gave an answer to {method} {path} that cannot be read: {error.error_count()} faults",
                hint="The two programs are probably of different versions.",
            ) from error

    def send(
        self,
        method: str,
        path: str,
        *,
        body: Shape | None = None,
        query: dict[str, Any] | None = None,
        seconds: float | None = None,
    ) -> httpx.Response:
        """As `call`, for requests whose answer says nothing."""
        deadline = self.request_seconds if seconds is None else seconds
        content = body.model_dump_json() if body is not None else None
        headers = {"content-type": "application/json"} if body is not None else None
        parameters = {name: _word(value) for name, value in (query or {}).items() if value is not None}
        try:
            response = exchange(
                self._client,
                method,
                f"{self.prefix}/v1{path}",
                seconds=deadline,
                content=content,
                headers=headers,
                params=parameters,
            )
        except httpx.TimeoutException as error:
            raise PeerError(
                f"{self.who} at {self.address} did not answer within {deadline:g} s",
                hint="It may be down, overloaded or cut off; look at its log.",
            ) from error
        except httpx.TransportError as error:
            raise PeerError(
                f"{self.who} at {self.address} is unreachable: {words_of(error, tls=self._tls)}",
                hint=_way_in(error, self.who),
            ) from error
        if response.is_error:
            raise problem_error(response, self.who)
        return response

    def relay(self, method: str, path: str, query: str, content: bytes, header: str, seconds: float) -> httpx.Response:
        """Hand on a request as it came, marked by a header; the answer as it is, also when it is an error."""
        headers = {"content-type": "application/json", header: "1"}
        target = f"{path}?{query}" if query else path
        try:
            return exchange(self._client, method, target, seconds=seconds, content=content, headers=headers)
        except httpx.TransportError as error:
            raise PeerError(
                f"{self.who} at {self.address} is unreachable: {words_of(error, tls=self._tls)}",
                hint="Start it, or correct its address.",
            ) from error

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def unanswered(error: PairvolError) -> bool:
    """Whether this error is the silence of the other end, and not something that it answered."""
    return isinstance(error, WrongSiteError) or isinstance(error.__cause__, httpx.TransportError)


def _way_in(error: httpx.TransportError, who: str) -> str:
    """What to do about an end that cannot be connected to."""
    if f"[Errno {errno.EACCES}]" in str(error):
        return "Be root, or name another address of it; its socket is not for this user."
    return f"Start {who}, or correct its address."


def problem_error(response: httpx.Response, who: str) -> PairvolError:
    """The error that the other end meant by this answer.

    As `controller.api.problems.error_of`, without loading the web framework
    that the command line does not need.
    """
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return PeerError(
            f"{who} answered with status {response.status_code} and no problem document",
            hint="Is another program listening there?",
        )
    facts = {name: value for name, value in problem.facts.items() if name not in ("message", "hint")}
    if problem.error == WrongSiteError.__name__:
        problem.message = f"{who} is not at {response.request.url.netloc.decode()}: {problem.message}"
    return BY_NAME.get(problem.error, PairvolError)(problem.message, hint=problem.hint, **facts)


def _word(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
