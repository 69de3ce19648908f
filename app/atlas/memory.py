"""Keeping a process of many threads small."""

import ctypes

_M_TRIM_THRESHOLD = -1
_M_ARENA_MAX = -8


def be_frugal() -> None:
    """Have glibc keep one heap for all threads and give back what is free at its end.

    By default it makes up to eight heaps a core, each as large as the largest page that passed through it.
    Call it before threads start; with another C library nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_TRIM_THRESHOLD, 1 << 20)
