"""The four states of a thing, from good to bad."""

from enum import IntEnum


class State(IntEnum):
    """How something is; compare with < and max()."""

    HEALTHY = 0
    DEGRADED = 1
    CRITICAL = 2
    DOWN = 3

    @property
    def serves(self) -> bool:
        """Whether the platform can be used all the same."""
        return self <= State.DEGRADED
