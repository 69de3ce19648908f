"""Object Storage: by Monitoring, as each request to Object Storage itself counts against a limit."""

from datetime import datetime, timedelta
from urllib.parse import quote

from atlasctl.usage.monitoring import WEEK, Stream, streams, total, weekly_rate
from atlasctl.usage.parts import GIGA, Leftover, Part, Reading, Scene
from atlasctl.words import parse

NAMESPACE = "oci_objectstorage"
PRICE = 0.0255  # dollars for a GB and month of the standard tier, by Oracle's list
#: Tiers as Monitoring names them, and as we do.
TIERS = {"standard": "standard", "infrequentaccess": "infrequent", "archive": "archive"}


def objects(scene: Scene) -> Part:
    """Read how much the buckets hold, and how many requests they had this month."""
    since = min(scene.month, scene.now - WEEK)
    stored = streams(scene, NAMESPACE, "StoredBytes[1h].max()", scene.now - WEEK, "what the buckets hold")
    asked = streams(scene, NAMESPACE, "AllRequests[1h].sum()", since, "the requests to the buckets")
    used = total(asked, scene.month)
    limits = scene.configuration.limits
    requests = Reading(
        "object_requests",
        "Object requests, this month",
        used,
        limits["object_requests"],
        forecast=used + weekly_rate(asked, scene) * scene.hours_left,
    )
    return Part((*_sizes(scene, stored), requests))


def uploads(scene: Scene) -> Part:
    """Find uploads nobody finished.

    Costs a request for the namespace, one for the list of buckets and one a bucket.
    """
    namespace = str(scene.client.get("object_storage", "/n", "the name of the object storage"))
    parts = streams(
        scene, NAMESPACE, "UncommittedParts[1h].max()", scene.now - WEEK, "the size of unfinished uploads"
    )
    sizes: dict[str, float] = {}
    for one in parts:
        name = one.dimensions.get("resourcedisplayname", "")
        sizes[name] = sizes.get(name, 0) + (one.points[-1][1] if one.points else 0)
    found = []
    for compartment in scene.compartments:
        place = f"/n/{quote(namespace, safe='')}/b"
        for bucket in scene.client.listed("object_storage", place, "the buckets", compartmentId=compartment):
            name = str(bucket.get("name", ""))
            found += _stale(scene, f"{place}/{quote(name, safe='')}/u", name, sizes.get(name, 0))
    return Part(leftovers=tuple(found))


def _sizes(scene: Scene, stored: list[Stream]) -> list[Reading]:
    """Return bytes against the limit: all tiers together, or each its own where the account is paid."""
    limits = scene.configuration.limits
    if scene.configuration.account == "always_free":
        return [_size("object_gb", "Objects, GB", stored, limits["object_gb"], scene)]
    return [
        _size(
            f"object_{ours}_gb",
            f"Objects, {ours}, GB",
            [one for one in stored if _tier(one) == theirs],
            limits["object_tier_gb"],
            scene,
        )
        for theirs, ours in TIERS.items()
    ]


def _tier(one: Stream) -> str:
    """Return the tier; what has none is standard, where one gigabyte costs most."""
    tier = one.dimensions.get("tier", "").lower().replace("_", "").replace(" ", "")
    return tier if tier in TIERS else "standard"


def _size(limit: str, title: str, stored: list[Stream], allowed: float, scene: Scene) -> Reading:
    """Add up the newest sizes; what they grew by in the last days goes on until the end of the month."""
    newest = sum(one.points[-1][1] for one in stored if one.points)
    moments = sorted({moment for one in stored for moment, _ in one.points})
    growth = 0.0
    if moments and moments[-1] - moments[0] >= timedelta(days=1):
        hours = (moments[-1] - moments[0]).total_seconds() / 3600
        growth = (newest - sum(_at(one, moments[0]) for one in stored)) / hours
    forecast = newest + max(0.0, growth) * scene.hours_left
    return Reading(limit, title, newest / GIGA, allowed, forecast / GIGA)


def _at(one: Stream, moment: datetime) -> float:
    """Return the size at a moment: 0 for a bucket that was not there yet."""
    before = [value for at, value in one.points if at <= moment]
    return before[-1] if before else 0.0


def _stale(scene: Scene, path: str, bucket: str, size: float) -> list[Leftover]:
    found = scene.client.listed("object_storage", path, f"the unfinished uploads to {bucket}")
    limit = timedelta(days=scene.configuration.upload_days)
    begun = [parse(one.get("timeCreated")) for one in found]
    old = [moment for moment in begun if moment is not None and scene.now - moment > limit]
    if not old:
        return []
    age = (scene.now - min(old)).total_seconds() / 86400
    gigabytes = round(size / GIGA, 2)
    why = (
        f"{len(old)} uploads begun more than {scene.configuration.upload_days:g} days ago and never finished"
    )
    return [
        Leftover(
            "upload", bucket, why, round(age, 1), gigabytes, round(gigabytes * PRICE, 2), things=len(old)
        )
    ]
