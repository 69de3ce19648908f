"""How Atlas is: for the operator's tools, load balancers and Prometheus."""

import shutil
import time
from collections.abc import Callable
from typing import Annotated, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from atlas import items, status
from atlas.api.errors import DATABASE_RETRY_SECONDS
from atlas.api.saving import QUEUE_RETRY_SECONDS
from atlas.api.state import State, state
from atlas.database import migrate
from atlas.database.engine import read
from atlas.patience import is_outage
from atlas.search import search

router = APIRouter(tags=["system"])

Status = Literal["ok", "degraded", "down"]
Finding = tuple[Status, str]

#: The pipeline is slow when an item has been due for longer, in seconds.
LONG_WAIT = 900
#: Free space below which the disk is a worry, and a danger (share of the whole, and bytes).
DISK_LOW = (0.10, 1_000_000_000)
DISK_FULL = (0.02, 200_000_000)


class Check(BaseModel):
    """One part of Atlas."""

    status: Status
    message: str
    milliseconds: float = Field(description="How long it took to find out.")


class Health(BaseModel):
    """All parts of Atlas."""

    status: Status = Field(description="The worst that keeps Atlas from answering, else `degraded` or `ok`.")
    checks: dict[str, Check]


@router.get("/health", response_model=Health, responses={503: {"model": Health}})
def health(request: Request) -> Response:
    """Say how each part is. 200 while Atlas can answer at all, 503 when the database is down."""
    parts = state(request)
    checks = {name: _timed(check, parts) for name, check in CHECKS.items()}
    overall: Status = "ok" if all(check.status == "ok" for check in checks.values()) else "degraded"
    if checks["database"].status == "down":
        overall = "down"
    body = Health(status=overall, checks=checks)
    return JSONResponse(body.model_dump(), 503 if overall == "down" else 200)


@router.get("/ready", responses={503: {"description": "Not ready; `Retry-After` says when to ask again."}})
def ready(
    request: Request,
    queue: Annotated[
        Literal["room", "any"], Query(description="`any`: a full queue is no reason not to be ready.")
    ] = "room",
) -> Response:
    """Say whether requests can be served: the database answers, is migrated far enough, the queue has room.

    With `?queue=any` a full queue does not matter: it is no reason to restart what serves it.
    """
    parts, reason, seconds = state(request), "database", DATABASE_RETRY_SECONDS
    try:
        missing = _missing_migration(parts)
        if not missing and queue == "room":
            reason, missing, seconds = "queue_full", _backlog(parts), QUEUE_RETRY_SECONDS
    except sa.exc.SQLAlchemyError:
        missing = "The database does not answer."
    if missing:
        answer = {"status": "not ready", "reason": reason, "message": missing}
        return JSONResponse(answer, 503, {"Retry-After": str(seconds)})
    return JSONResponse({"status": "ready"})


@router.get("/metrics", response_class=Response)
def metrics(request: Request) -> Response:
    """Return the metrics, as Prometheus reads them. From this machine without a token."""
    body, kind = state(request).metrics.render()
    return Response(body, headers={"Content-Type": kind})


def _missing_migration(parts: State) -> str:
    """Say what the database lacks, "" for nothing. One that is ahead is fine: an older release is back."""
    found = migrate.current(parts.engine)
    if found is None:
        return "The database has not been migrated yet: run `atlas migrate`."
    if found in parts.outdated:
        return "The database is behind this release: run `atlas migrate`."
    return ""


def _backlog(parts: State) -> str:
    """Say that the queue is full; "" while it has room."""
    with read(parts.engine) as conn:
        waiting = items.queue_size(conn, parts.clock())
    if waiting < parts.settings.max_queue_size:
        return ""
    return f"{waiting} items wait to be fetched: new ones are refused until there are fewer."


def _timed(check: Callable[[State], Finding], parts: State) -> Check:
    started = time.perf_counter()
    try:
        verdict, message = check(parts)
    except sa.exc.SQLAlchemyError as error:
        verdict = "down"
        message = "The database does not answer." if is_outage(error) else "The database refused."
    return Check(
        status=verdict, message=message, milliseconds=round((time.perf_counter() - started) * 1000, 2)
    )


def _database(parts: State) -> Finding:
    with read(parts.engine) as conn:
        conn.execute(sa.select(1))
    return "ok", "The database answers."


def _worker(parts: State) -> Finding:
    with read(parts.engine) as conn:
        seen = status.workers_seen(conn, parts.clock())
    alive = sum(worker.silent_seconds <= status.ALIVE.total_seconds() for worker in seen)
    if alive == 0:
        return "degraded", "No worker runs: what is added waits."
    return "ok", f"{alive} worker{'s run' if alive > 1 else ' runs'}."


def _disk(parts: State) -> Finding:
    try:
        usage = shutil.disk_usage(parts.settings.data_dir)
    except OSError as error:
        return "degraded", f"The data directory cannot be read: {error.strerror}."
    share, free = usage.free / usage.total, f"{usage.free / 1e9:.1f} GB are free."
    if share < DISK_FULL[0] or usage.free < DISK_FULL[1]:
        return "down", f"The disk is full: {free}"
    if share < DISK_LOW[0] or usage.free < DISK_LOW[1]:
        return "degraded", f"The disk fills up: {free}"
    return "ok", free


def _search(parts: State) -> Finding:
    with read(parts.engine) as conn:
        search(conn, "atlas", limit=1)
    return "ok", "Search answers."


def _pipeline(parts: State) -> Finding:
    with read(parts.engine) as conn:
        lanes = status.waiting(conn, parts.clock())
    length, oldest = sum(lane.length for lane in lanes), max(lane.oldest_seconds for lane in lanes)
    if length >= parts.settings.max_queue_size:
        return "degraded", f"{length} items wait: new ones are refused until there are fewer."
    if oldest > LONG_WAIT:
        return "degraded", f"An item has been due for {int(oldest / 60)} minutes."
    return "ok", f"{length} items wait."


CHECKS: dict[str, Callable[[State], Finding]] = {
    "database": _database,
    "worker": _worker,
    "disk": _disk,
    "search": _search,
    "pipeline": _pipeline,
}
