"""`atlas work`."""

import argparse
import signal

from atlas.commands import database
from atlas.memory import be_frugal
from atlas.net.client import Fetcher
from atlas.settings import Settings
from atlas.stages.pool import ReaderPool
from atlas.worker import Limits, Worker


def work(options: argparse.Namespace, settings: Settings) -> int:
    """Run a worker until it is told to stop (SIGTERM, Ctrl+C) or reaches its limits."""
    be_frugal()
    limits = Limits(max_items=options.max_items, once=options.once)
    pool = ReaderPool(settings.reader_processes, settings.reader_timeout_seconds, settings.reader_memory_mb)
    with database(settings) as engine, pool as reader:
        worker = Worker(settings, engine, Fetcher(settings), reader, limits=limits)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        worker.run()
    return 0
