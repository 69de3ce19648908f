"""What leaves through the network cards: an upper bound of what Oracle counts as egress."""

from atlasctl.usage.monitoring import WEEK, streams, total, weekly_rate
from atlasctl.usage.parts import GIGA, Part, Reading, Scene


def egress(scene: Scene) -> Part:
    """Add up what all cards sent this month.

    It includes what stays inside the network and what a security list drops; Oracle counts only what leaves
    the region.
    """
    since = min(scene.month, scene.now - WEEK)
    sent = streams(scene, "oci_vcn", "VnicToNetworkBytes[1h].sum()", since, "what the network cards send")
    used = total(sent, scene.month)
    forecast = used + weekly_rate(sent, scene) * scene.hours_left
    limit = scene.configuration.limits["egress_gb"]
    reading = Reading(
        "egress_gb", "Egress, GB, this month", used / GIGA, limit, forecast / GIGA, estimated=True
    )
    return Part((reading,))
