"""Routes that are built when they are first asked for.

Owns the declaration of routes for every daemon of the project. FastAPI reads
the signature of an endpoint, and builds what checks its words and its answer,
when a route is declared, and once more when a router is included: most of a
daemon's start, for a hundred routes of which a site needs a few. Here a noun
only remembers what was declared; an application gets each route once, and
its first request, or the OpenAPI document, builds it. What a built route does
is FastAPI's own. Event loop's thread only, as everything of an application.

An endpoint that is no coroutine runs in a worker thread, and only that does:
FastAPI would go to a thread once more to check the answer. Each way there and
back costs more than what most endpoints do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar, get_type_hints

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.params import Depends
from fastapi.routing import APIRoute
from starlette.routing import compile_path

from controller.api.shape import build

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True)
class Declared:
    """A route without the application that it will be a part of."""

    method: str
    path: str
    endpoint: Callable[..., Any]
    settings: dict[str, Any]


class Noun:
    """The routes about one thing, declared by decorators as with `fastapi.APIRouter`."""

    def __init__(self, prefix: str = "", *, tags: Sequence[str] = ()) -> None:
        self._prefix = prefix
        self._tags = [*tags]
        self._declared: list[Declared] = []

    def get(self, path: str, **settings: Any) -> Callable[[Endpoint], Endpoint]:
        return self._declare("GET", path, settings)

    def post(self, path: str, **settings: Any) -> Callable[[Endpoint], Endpoint]:
        return self._declare("POST", path, settings)

    def put(self, path: str, **settings: Any) -> Callable[[Endpoint], Endpoint]:
        return self._declare("PUT", path, settings)

    def delete(self, path: str, **settings: Any) -> Callable[[Endpoint], Endpoint]:
        return self._declare("DELETE", path, settings)

    def install(
        self,
        app: FastAPI,
        *,
        prefix: str = "",
        responses: dict[int | str, dict[str, Any]] | None = None,
        guard: Sequence[Depends] = (),
    ) -> None:
        """Give an application these routes, behind its own dependencies, then `guard`, then each route's."""
        before = [*app.router.dependencies, *guard]
        for each in self._declared:
            settings = dict(each.settings)
            settings["tags"] = [*self._tags, *settings.get("tags", ())]
            settings["dependencies"] = [*before, *settings.get("dependencies", ())]
            settings["responses"] = {**(responses or {}), **settings.get("responses", {})}
            settings["dependency_overrides_provider"] = app
            app.router.routes.append(LateRoute(f"{prefix}{self._prefix}{each.path}", each, settings))

    def _declare(self, method: str, path: str, settings: dict[str, Any]) -> Callable[[Endpoint], Endpoint]:
        def remember(endpoint: Endpoint) -> Endpoint:
            self._declared.append(Declared(method, path, endpoint, settings))
            return endpoint

        return remember


class LateRoute(APIRoute):
    """An APIRoute whose constructor runs when more is asked of it than whether a request is meant for it."""

    def __init__(self, path: str, declared: Declared, settings: dict[str, Any]) -> None:
        self._late = settings
        self.path = path
        self.path_regex, self.path_format, self.param_convertors = compile_path(path)
        self.methods = {declared.method}
        self.endpoint = declared.endpoint
        self.name = declared.endpoint.__name__

    def __getattr__(self, name: str) -> Any:
        """What is not there yet."""
        settings = self.__dict__.pop("_late", None)
        if settings is None:
            raise AttributeError(name)
        build(get_type_hints(self.endpoint, include_extras=True).values())
        super().__init__(self.path, _awaited(self.endpoint), methods=self.methods, **settings)
        return getattr(self, name)


def _awaited(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """The endpoint as a coroutine that leaves the event loop's thread once."""
    if iscoroutinefunction(endpoint):
        return endpoint

    @wraps(endpoint)
    async def in_thread(**words: Any) -> Any:
        return await run_in_threadpool(endpoint, **words)

    return in_thread
