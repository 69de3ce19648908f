"""The worker: threads that lease items and take them through their steps, and what keeps watch over them.

The *hands* lease and process. The *heart* prolongs their leases and tells the database that this worker
lives. The *clerk* does the chores. The thread that calls `run` looks on: it feeds systemd's watchdog as long
as the others move, and brings everything to an orderly end. Nothing depends on the end being orderly: leases
run out by themselves.
"""

import datetime as dt
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Engine

from atlas import items
from atlas.chores import Clerk
from atlas.database.dialect import insert
from atlas.database.engine import read
from atlas.database.tables import hosts, workers
from atlas.database.tables import items as items_table
from atlas.items import Leased
from atlas.patience import Patience, Stopping, is_outage
from atlas.pipeline import process, release
from atlas.resilience import crew
from atlas.settings import Settings
from atlas.stages.context import Context, Fetches, LeaseLost, Reads
from atlas.stages.table import FETCHING
from atlas.telemetry import errors
from atlas.telemetry import tally as tallies
from atlas.telemetry.logs import correlated
from atlas.telemetry.systemd import notify, watchdog_seconds

#: Seconds between two looks into an empty queue: the first and the longest.
SHORTEST_IDLE = 0.25
LONGEST_IDLE = 1.0

#: Seconds between two heartbeats, if the lease does not ask for more of them; and while the database is away.
HEARTBEAT = 10.0
HEARTBEAT_AWAY = 1.0

#: How long items in hand may take to end after the worker was asked to stop; then they are given back
#: (seconds).
STOP_SECONDS = 15.0

#: With `once`: how long a host may rest for its items to be waited for, in seconds.
SOON = 10.0

#: A worker that has been silent for so long is forgotten when another one lives (seconds).
FORGOTTEN = 3600

#: Seconds between two looks at the chores.
CHORES_PAUSE = 1.0

#: How often a worker looks at the length of the queue, in seconds.
LOOK_AROUND = 1.0

#: Fetches for one item at most: the page, an archive's answer and copy, a search and two of its results.
FETCHES = 6

#: How often the main thread looks at the others, in seconds.
TICK = 0.2

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """When a worker ends by itself: after so many items, or (`once`) when nothing is due any more."""

    max_items: int | None = None
    once: bool = False


class Pulses:
    """When each thread was last seen to move."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}

    def beat(self) -> None:
        """Note that the calling thread moves."""
        self._seen[threading.current_thread().name] = time.monotonic()

    def end(self) -> None:
        """Note that the calling thread ends, as it should."""
        self._seen.pop(threading.current_thread().name, None)

    def still(self, seconds: float) -> list[str]:
        """Name the threads that have not moved for so long."""
        now = time.monotonic()
        return sorted(name for name, seen in self._seen.copy().items() if now - seen > seconds)


def utc_now() -> dt.datetime:
    """Return the present moment."""
    return dt.datetime.now(dt.UTC)


class Worker:
    """One worker process. `run` returns when a limit is reached or `stop` was called."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        fetcher: Fetches,
        reader: Reads,
        *,
        clock: Callable[[], dt.datetime] = utc_now,
        limits: Limits | None = None,
    ) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.processed = 0
        self._limits = limits or Limits()
        self._asked_to_stop = False
        self._fatal: Exception | None = None
        self._stop = threading.Event()
        self._finished = threading.Event()
        self._registered = threading.Event()
        self._pulses = Pulses()
        self._tally = tallies.PROCESS
        self._started_at = clock()
        patience = Patience(self._stop, on_wait=self._pulses.beat)
        self._ctx = Context(settings, engine, fetcher, reader, clock, patience)
        self._turn = threading.Lock()  # one hand at a time looks into the queue
        self._taken = 0
        self._looked_around_at = 0.0
        self._wanted = 1 if not self._limits.once else settings.worker_threads  # hands
        self._lock = threading.Lock()
        self._held: dict[str, Leased] = {}  # by thread
        # The longest a hand may be busy without being stuck: a fetch, a reading behind those of all others,
        # and some.
        in_line = settings.worker_threads / settings.reader_processes + 1
        self._stuck_after = (
            FETCHES * settings.fetch_timeout_seconds + in_line * settings.reader_timeout_seconds + 60
        )

    def stop(self) -> None:
        """Ask the worker to end: what is in hand is finished or given back. Safe in a signal handler."""
        self._asked_to_stop = True

    def run(self) -> int:
        """Work; return how many items were processed. Raises what made going on impossible."""
        names = [f"hand-{number}" for number in range(1, self._ctx.settings.worker_threads + 1)]
        hands = [threading.Thread(target=self._hand, name=name, daemon=True) for name in names]
        heart = threading.Thread(target=self._heart, name="heart", daemon=True)
        log.info("worker started", worker=self.name, threads=len(hands))
        clerk = threading.Thread(target=self._clerk, name="clerk", daemon=True)
        for thread in (heart, *hands, *([] if self._limits.once else [clerk])):
            thread.start()
        notify("READY=1")
        try:
            self._look_on(hands)
        finally:
            notify("STOPPING=1")
            self._end(heart)
        log.info("worker stopped", worker=self.name, processed=self.processed)
        if self._fatal is not None:
            raise self._fatal
        return self.processed

    # The main thread

    def _look_on(self, hands: list[threading.Thread]) -> None:
        watchdog, fed_at, deadline, stuck = watchdog_seconds(), 0.0, None, False
        while any(hand.is_alive() for hand in hands):
            now = time.monotonic()
            if self._asked_to_stop and deadline is None:
                self._stop.set()
                deadline = now + STOP_SECONDS
            if deadline is not None and now > deadline:
                return
            still = self._pulses.still(self._stuck_after)
            if still and not stuck:
                log.error("threads are stuck", threads=still)
            stuck = bool(still)
            if not stuck and watchdog is not None and now - fed_at >= watchdog:
                notify("WATCHDOG=1", f"STATUS=Processed {self.processed} items, {len(self._held)} in hand")
                fed_at = now
            time.sleep(TICK)

    def _end(self, heart: threading.Thread) -> None:
        """Give back what is still in hand, and say goodbye; without a database neither matters."""
        self._stop.set()
        with self._lock:
            held = list(self._held.values())
        for leased in held:
            try:
                release(self._ctx, leased)
            except (LeaseLost, Stopping):
                continue
            log.info("item given back", item=leased.id)
        self._finished.set()
        heart.join(timeout=5)
        try:
            self._report(self._leave)
        except sa.exc.SQLAlchemyError as error:
            log.warning("could not sign off", reason=str(error))

    def _give_up(self, error: Exception) -> None:
        """End because of something that no waiting will mend."""
        self._fatal = self._fatal or error
        self._asked_to_stop = True

    # The heart

    def _heart(self) -> None:
        interval = min(HEARTBEAT, self._ctx.settings.lease_seconds / 3)
        while True:
            self._pulses.beat()
            try:
                self._report(self._prolong)
            except sa.exc.SQLAlchemyError as error:
                if not is_outage(error):
                    self._give_up(error)
                    break
                self._ctx.patience.away(error)
                wait = min(HEARTBEAT_AWAY, interval)
            else:
                self._ctx.patience.back()
                self._registered.set()
                wait = interval
            if self._finished.wait(wait):
                break
        self._pulses.end()

    def _report(self, say: Callable[[Connection, dt.datetime], None]) -> None:
        """Write what was counted, and what `say` says of this worker, in one transaction."""
        counts = self._tally.drain()
        try:
            with self._ctx.engine.begin() as conn:
                say(conn, self._ctx.clock())
                tallies.write(conn, counts)
        except BaseException:
            self._tally.add(counts)
            raise

    def _prolong(self, conn: Connection, now: dt.datetime) -> None:
        """Keep the leases of the hands that move, and this worker's row."""
        still = self._pulses.still(self._stuck_after)
        with self._lock:
            leases = [(leased.id, leased.lease) for name, leased in self._held.items() if name not in still]
        items.extend(conn, leases, now=now, lease_seconds=self._ctx.settings.lease_seconds)
        seen = {"seen_at": now, "processed": self.processed}
        row = {"name": self.name, "started_at": self._started_at, **seen}
        statement = insert(conn, workers).values(row)
        seen["started_at"] = self._started_at  # a name may return: process ids do
        conn.execute(statement.on_conflict_do_update(index_elements=["name"], set_=seen))
        conn.execute(workers.delete().where(workers.c.seen_at < now - dt.timedelta(seconds=FORGOTTEN)))

    def _leave(self, conn: Connection, _now: dt.datetime) -> None:
        conn.execute(workers.delete().where(workers.c.name == self.name))

    # The clerk

    def _clerk(self) -> None:
        """Do the chores. It is not watched: some take long, and none of them holds up an item."""
        clerk = Clerk(self._ctx)
        while not self._stop.wait(CHORES_PAUSE):
            if not self._registered.is_set():  # until the database is known to be there, and fit
                continue
            try:
                clerk.go_round()
            except Stopping:
                return
            except Exception as error:
                if not is_outage(error):
                    log.exception("chores stopped short")
                self._stop.wait(HEARTBEAT)

    # The hands

    def _hand(self) -> None:
        while not self._registered.wait(TICK):  # until the database is known to be there, and fit
            if self._stop.is_set():
                return
        try:
            while (leased := self._take()) is not None:
                self._handle(leased)
        except Stopping:
            log.info("stopped while the database was away")
        except Exception as error:  # noqa: BLE001 - whoever started the worker is told, and may start it anew
            self._give_up(error)
        finally:
            self._pulses.end()

    def _take(self) -> Leased | None:
        """Lease the next item; wait for it if need be. None: there is nothing more to do here."""
        self._pulses.beat()
        while self._is_spare() and not self._stop.wait(TICK):
            self._pulses.beat()
            self._ctx.patience.run(self._look_around)
        while not self._turn.acquire(timeout=LONGEST_IDLE):
            self._pulses.beat()
        try:
            idle = SHORTEST_IDLE
            while not self._stop.is_set() and self._taken != self._limits.max_items:
                self._pulses.beat()
                self._ctx.patience.run(self._look_around)
                leased = self._ctx.patience.run(self._lease)
                if leased is not None:
                    self._taken += 1
                    return leased
                if self._limits.once and not self._ctx.patience.run(self._more_soon):
                    return None
                self._stop.wait(idle)
                idle = min(idle * 2, LONGEST_IDLE)
            return None
        finally:
            self._turn.release()

    def _look_around(self) -> None:
        """Now and then: let imports into the queue, and see how many hands there is work for."""
        if time.monotonic() - self._looked_around_at < LOOK_AROUND:
            return
        self._looked_around_at = time.monotonic()
        now, settings = self._ctx.clock(), self._ctx.settings
        items.top_up(self._ctx.engine, now=now, max_queue_size=settings.max_queue_size)
        if self._limits.once:
            return
        with read(self._ctx.engine) as conn:
            backlog, usual = items.queue_size(conn, now), crew.usual(conn, now)
        self._wanted = crew.hands(len(self._held), backlog, usual, settings.worker_threads)

    def _is_spare(self) -> bool:
        """Tell whether the calling hand has nothing to do for now: there is little work."""
        if self._taken == self._limits.max_items:  # nothing will be wanted any more
            return False
        return int(threading.current_thread().name.rpartition("-")[2]) > self._wanted

    def _lease(self) -> Leased | None:
        settings = self._ctx.settings
        return items.lease(
            self._ctx.engine,
            worker=self.name,
            now=self._ctx.clock(),
            lease_seconds=settings.lease_seconds,
            host_delay_seconds=settings.host_delay_seconds,
        )

    def _more_soon(self) -> bool:
        """Tell whether an item is due and only waits for its host, which rests for a moment."""
        now = self._ctx.clock()
        resting = sa.exists().where(
            hosts.c.host == items_table.c.host, hosts.c.next_at > now + dt.timedelta(seconds=SOON)
        )
        due = sa.select(items_table.c.id).where(
            items_table.c.due_at <= now, sa.or_(items_table.c.stage.not_in(FETCHING), ~resting)
        )
        with read(self._ctx.engine) as conn:
            return conn.execute(due.limit(1)).first() is not None

    def _handle(self, leased: Leased) -> None:
        name = threading.current_thread().name
        started = time.perf_counter()
        with self._lock:
            self._held[name] = leased
        try:
            with correlated(leased.correlation_id):
                outcome = process(self._ctx, leased, tally=self._tally, stopping=self._stop.is_set)
                seconds = round(time.perf_counter() - started, 3)
                reason = {"code": outcome.code} if outcome.code else {}
                log.info("item", item=leased.id, outcome=outcome.name, **reason, seconds=seconds)
            self._tally.outcome(outcome.name, outcome.code, leased.kind)
        except Stopping:
            raise
        except Exception as error:  # whatever it was: the lease runs out, and that counts as an attempt
            error_id = secrets.token_hex(4)
            log.exception("item not handled", item=leased.id, error_id=error_id)
            with correlated(leased.correlation_id):
                self._keep(error, error_id, leased)
            self._stop.wait(1)
        finally:
            with self._lock:
                self._held.pop(name, None)
                self.processed += 1

    def _keep(self, error: Exception, error_id: str, leased: Leased) -> None:
        errors.keep(
            self._ctx.engine,
            error,
            error_id=error_id,
            where="worker",
            place="an item's way",
            now=self._ctx.clock(),
            item_id=leased.id,
        )
