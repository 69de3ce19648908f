"""How far the machine is from being called idle: Oracle may take what is below 20 % for 7 days."""

import math

from atlasctl.usage.monitoring import WEEK, Stream, streams
from atlasctl.usage.parts import Idle, Part, Scene

THRESHOLD = 20.0  # percent
POINT_MINUTES = 5
AGENT = "oci_computeagent"
CARDS = "oci_vcn"


def idle(scene: Scene) -> Part:
    """Read the 95th percentiles of 7 days, of means of 5 minutes: lower than of shorter ones, so safe."""
    if not scene.configuration.idle_watched:
        return Part()
    machine = scene.machine
    cpu = _own(scene, "CpuUtilization", "mean()", "the machine's CPU")
    memory = _own(scene, "MemoryUtilization", "mean()", "the machine's memory") if machine.is_a1 else []
    flow = _flow(scene)
    seen = Idle(
        cpu=_percentile(cpu),
        network=_percentile(flow),
        memory=_percentile(memory),
        observed_hours=round(max(len(cpu), len(memory)) * POINT_MINUTES / 60, 1),
        margin=None,
    )
    # Memory counts on the Arm shape alone. One that is above is enough, whatever the others are.
    wanted = [seen.cpu, seen.network, *([seen.memory] if machine.is_a1 else [])]
    known = [value for value in wanted if value is not None]
    best = max(known, default=0.0)
    complete = len(known) == len(wanted)
    margin = best - THRESHOLD if known and (complete or best >= THRESHOLD) else None
    missing = "" if complete else f"Monitoring has no data on {_lacking(seen, is_a1=machine.is_a1)}"
    return Part(idle=seen._replace(margin=margin), missing=missing and f"{missing}. {_AGENT_HINT}")


_AGENT_HINT = "CPU and memory come from the Oracle Cloud Agent: snap services oracle-cloud-agent"


def _lacking(seen: Idle, *, is_a1: bool) -> str:
    values = {
        "CPU": seen.cpu,
        "the network": seen.network,
        "memory": seen.memory if is_a1 else 0.0,
    }
    return ", ".join(name for name, value in values.items() if value is None)


def _own(scene: Scene, metric: str, statistic: str, what: str) -> list[float]:
    query = f'{metric}[{POINT_MINUTES}m]{{resourceId = "{scene.machine.id}"}}.{statistic}'
    found = streams(scene, AGENT, query, scene.now - WEEK, what, everywhere=False)
    return [value for one in found for _, value in one.points]


def _flow(scene: Scene) -> list[float]:
    """Return percents of the shape's bandwidth: in each 5 minutes what comes or what goes, the larger."""
    seconds = POINT_MINUTES * 60
    line = scene.machine.network_gbps * 1e9 / 8 * seconds
    if not line:
        return []
    both = [_bytes(scene, metric) for metric in ("VnicFromNetworkBytes", "VnicToNetworkBytes")]
    moments = both[0].keys() | both[1].keys()
    return [100 * max(way.get(moment, 0.0) for way in both) / line for moment in moments]


def _bytes(scene: Scene, metric: str) -> dict[object, float]:
    """Return the bytes of all our cards together, by time."""
    found: list[Stream] = []
    for card in scene.machine.vnics:
        query = f'{metric}[{POINT_MINUTES}m]{{resourceId = "{card}"}}.sum()'
        found += streams(scene, CARDS, query, scene.now - WEEK, "the machine's network", everywhere=False)
    summed: dict[object, float] = {}
    for one in found:
        for moment, value in one.points:
            summed[moment] = summed.get(moment, 0.0) + value
    return summed


def _percentile(values: list[float]) -> float | None:
    """Return the 95th percentile (nearest rank)."""
    if not values:
        return None
    return round(sorted(values)[math.ceil(0.95 * len(values)) - 1], 2)
