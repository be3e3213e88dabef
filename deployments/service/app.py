"""The application: the endpoints over what they are given, and what starts and stops with them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from deployments.service import refusals
from deployments.service.access import Access
from deployments.service.background import Background
from deployments.service.chat_routes import chat_routes
from deployments.service.debug_routes import debug_routes
from deployments.service.flag_routes import flag_routes
from deployments.service.rollout_routes import rollout_routes
from deployments.service.schemas import Alive
from deployments.service.services import Services

_LOG: Final = logging.getLogger("redo.service")
_ABOUT: Final = """
REDO chooses the evidence that a language model should read, behind flags, beside the legacy selection that it replaces.

`/admin` and `/debug` ask for the bearer token `REDO_ADMIN_TOKEN` where one is set, and answer this machine only where
none is. `/chat`, `/debug/metrics` and `/healthz` answer everybody.
"""
_INDEX: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>REDO</title>
<style>body { font: 16px/1.6 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }</style>
<h1>REDO</h1>
<p>Evidence for language models, chosen behind flags.</p>
<ul>
<li><a href="/docs">/docs</a>: every endpoint, to try out
<li><a href="/debug/fallback-health">/debug/fallback-health</a>: health, breakers, who answers now
<li><a href="/admin/feature-flags">/admin/feature-flags</a>: the flags and their history
{rollout}<li><a href="/debug/config">/debug/config</a>: settings, and where the state lives
<li><a href="/debug/metrics">/debug/metrics</a>: for Prometheus
<li><a href="/healthz">/healthz</a>: whether the process answers
</ul>
<p>Questions go to <code>POST /chat</code>.
</html>
"""
_ROLLOUT: Final = '<li><a href="/admin/rollout">/admin/rollout</a>: where the rollout stands, and why\n'


def create_app(services: Services) -> FastAPI:
    """Put the application together. Its background jobs run from its start to its end."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        background = Background(services.jobs)
        background.start()
        try:
            yield
        finally:
            await run_in_threadpool(background.stop)
            if services.answers is not None:
                services.answers.close()
            for work in (*services.closing, services.recorder.flush):
                try:
                    await run_in_threadpool(work)
                except Exception:  # noqa: BLE001 - the others are to be done all the same
                    _LOG.exception("at the end")

    app = FastAPI(title="REDO", version=version("redo"), description=_ABOUT, lifespan=lifespan, redoc_url=None)
    refusals.install(app)
    access = Access(services.admin_token)
    app.include_router(chat_routes(services))
    app.include_router(flag_routes(services.manager, access))
    app.include_router(debug_routes(services, access))
    if services.rollout is not None:
        app.include_router(rollout_routes(services.rollout, access))

    @app.get("/healthz", tags=["debug"], summary="Whether the process answers")
    def healthz() -> Alive:
        """For load balancers. It asks nobody else: `/debug/fallback-health` does."""
        return Alive(version=version("redo"), chat=services.answers is not None)

    @app.get("/", include_in_schema=False)
    def index() -> HTMLResponse:
        return HTMLResponse(_INDEX.replace("{rollout}", "" if services.rollout is None else _ROLLOUT))

    return app
