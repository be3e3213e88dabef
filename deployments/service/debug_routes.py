"""`/debug`: health, configuration and metrics."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from fastapi import APIRouter, Depends, Response

from core.errors import StoreError
from core.metrics import Metrics
from deployments.service.access import Access
from deployments.service.flag_routes import PROTECTED, flags_of
from deployments.service.schemas import Configuration
from deployments.service.services import Services
from ledger.spool import Usage
from tasks.metrics import CONTENT_TYPE, load, render

_LOG: Final = logging.getLogger("redo.service")


def debug_routes(services: Services, access: Access) -> APIRouter:
    """The endpoints."""
    router = APIRouter(tags=["debug"])
    manager, protected = services.manager, [Depends(access.check)]

    @router.get(
        "/debug/fallback-health",
        summary="Health, breakers, and who answers now",
        dependencies=protected,
        responses=PROTECTED,
    )
    def health() -> Mapping[str, Any]:
        """The report of `get_health_status()`, read from the shared state now."""
        return manager.get_health_status()

    @router.get(
        "/debug/config",
        summary="Settings, flags, and where the state lives",
        dependencies=protected,
        responses=PROTECTED,
    )
    def config() -> Configuration:
        """What this process works with. Secrets are masked."""
        manager.refresh()
        view = manager.flag_view()
        return Configuration.model_validate(
            {
                "version": version("redo"),
                "settings": services.settings,
                "flags": flags_of(view),
                "kill_switches": list(view.killed),
                "state": services.state,
                "passages": services.passages,
                "parts": services.parts,
            }
        )

    @router.get(
        "/debug/metrics",
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={200: {"content": {CONTENT_TYPE: {}}, "description": "docs/metrics.md lists every metric."}},
    )
    def metrics() -> Response:
        """What all processes have counted, and the state of the guard."""
        services.recorder.flush()
        used = _spooled(services)
        page = render(
            _counted(services),
            manager.get_health_status(),
            spool_depth=None if used is None else used.entries,
            spool_bytes=None if used is None else used.bytes,
        )
        return Response(page, media_type=CONTENT_TYPE)

    return router


def _spooled(services: Services) -> Usage | None:
    try:
        return None if services.spool_usage is None else services.spool_usage()
    except StoreError as error:
        _LOG.warning("metrics: %s", error)
        return None


def _counted(services: Services) -> Metrics | None:
    try:
        return load(services.store)
    except StoreError as error:
        _LOG.warning("metrics: %s", error)
        return None
