"""What stands at an ordinary control point: installations that cover it, or back it up.

Promises that every installation here works, has its function, and sees its point; faults are made
in ``app.demo.planted_faults`` from the same pieces. Devices of one cabinet share a ``failure_group``.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from app.demo.control_points import Place
from app.demo.device_factory import Fields, Kit
from app.demo.plan_frame import azimuth_deg
from app.demo.rings import Floats, unit

BOTH: Final = ("inbound", "outbound")
LANE_M: Final = 3.5


def inward(place: Place) -> Floats:
    """Return the unit vector of inbound travel at a road point."""
    if place.inbound is None:
        msg = f"{place.code} is not on a road"
        raise ValueError(msg)
    return place.inbound


def across(direction: Floats) -> Floats:
    """Return the unit vector to the right of a travel direction."""
    return np.array([direction[1], -direction[0]])


def gantry(
    kit: Kit,
    place: Place,
    directions: Sequence[str] = BOTH,
    per_direction: int = 1,
    ahead_m: float = 3.0,
    **more: Any,
) -> Fields:
    """Add a vehicle checkpoint with a camera per lane, ``ahead_m`` inward of a road point.

    ``more`` goes to the checkpoint and to its cameras alike, as a common failure would.
    """
    way = inward(place)
    foot = place.xy + way * ahead_m
    streets = place.streets[-1:] if tuple(directions) == ("inbound",) else place.streets[:1]
    checkpoint = kit.checkpoint("vehicle", place, foot + across(way) * 2, road=streets[0], lanes=[], **more)
    for direction in directions:
        travel = way if direction == "inbound" else -way
        for lane in range(per_direction):
            _lane(kit, place, checkpoint, direction, travel, foot, lane, more)
    return checkpoint


def _lane(
    kit: Kit, place: Place, checkpoint: Fields, direction: str, travel: Floats,
    foot: Floats, lane: int, more: Fields,
) -> None:  # fmt: skip
    """Add one lane: a camera past the point, looking back at the fronts of vehicles."""
    stand = foot + travel * kit.rng.uniform(19, 22) + across(travel) * LANE_M * (lane + 0.5) * 0.6
    camera = kit.aimed(
        "vehicle",
        place,
        stand,
        place.xy,
        direction=direction,
        checkpoint=checkpoint["code"],
        **more,
    )
    if kit.rng.random() < 0.2:
        camera["functions"] = ["vehicle", "structured"]
    checkpoint["lanes"].append(
        {
            "lane": len(checkpoint["lanes"]) + 1,
            "direction": direction,
            "bearing_deg": azimuth_deg(travel),
            "max_speed_kmh": 60,
            "camera": camera["code"],
        }
    )


def single(kit: Kit, place: Place, **more: Any) -> None:
    """Add a small checkpoint: one camera that takes both directions."""
    way = inward(place)
    foot = place.xy + way * 3
    checkpoint = kit.checkpoint("vehicle", place, foot + across(way) * 2, road=place.streets[0], **more)
    camera = kit.aimed(
        "vehicle", place, foot + way * 18, place.xy, direction="both",
        checkpoint=checkpoint["code"], **more,
    )  # fmt: skip
    checkpoint["lanes"] = [{"lane": 1, "direction": "both", "bearing_deg": azimuth_deg(way), "camera": camera["code"]}]


def second_eyes(kit: Kit, place: Place) -> None:
    """Add two cameras on a pole of their own, one per direction, that see the same point."""
    way, group = inward(place), f"cabinet-{place.code}-B"
    for direction, travel in (("inbound", way), ("outbound", -way)):
        stand = place.xy + travel * 24 - across(travel) * 5
        kit.aimed("vehicle", place, stand, place.xy, direction=direction, failure_group=group)


def second_exit(kit: Kit, place: Place) -> None:
    """Add a camera on a pole of its own that sees who leaves, so that no one failure hides them."""
    way, group = inward(place), f"pole-{place.code}-C"
    stand = place.xy - way * 25 + across(way) * 6
    kit.aimed("vehicle", place, stand, place.xy, direction="outbound", failure_group=group)


def road(kit: Kit, place: Place, backed_up: bool) -> None:
    """Cover a road point, twice over when ``backed_up``."""
    if place.carriageways > 1:
        gantry(kit, place, ("inbound",), 2)
        gantry(kit, place, ("outbound",), 2, ahead_m=-3)
    elif len(place.directions) == 1 or kit.rng.random() < 0.8:
        gantry(kit, place, place.directions, 1 + int(kit.rng.random() < 0.5))
    else:
        single(kit, place)
    if backed_up:
        second_eyes(kit, place)
    if kit.rng.random() < 0.15:
        kit.camera(["electronic"], place, place.xy + across(inward(place)) * 9)


def corner(place: Place, quarter: int, distance_m: float) -> Floats:
    """Return the place of a pole at a corner of a crossroads, quarters counted from the east."""
    return np.asarray(place.xy + unit(np.radians(45.0 + 90 * quarter)) * distance_m)


def traffic_eyes(kit: Kit, place: Place, count: int = 2, **more: Any) -> None:
    """Add vehicle cameras of one cabinet at the corners of a crossroads."""
    for number in range(count):
        stand = corner(place, number, kit.rng.uniform(18, 21))
        group = {"failure_group": f"cabinet-{place.code}-A"}
        kit.aimed("vehicle", place, stand, place.xy, direction="none", **{**group, **more})


def face_checkpoint(kit: Kit, place: Place, count: int = 2, **more: Any) -> None:
    """Add a face checkpoint with its cameras at a crossroads or a site."""
    checkpoint = kit.checkpoint("face", place, corner(place, 2, 3), lanes=[], **more)
    for number in range(count):
        stand = corner(place, number + 2, kit.rng.uniform(8, 11))
        kit.aimed("face", place, stand, place.xy, checkpoint=checkpoint["code"], **more)


def dome(kit: Kit, place: Place, distance_m: float = 6.0, **more: Any) -> None:
    """Add an overview dome."""
    kit.camera(["overview"], place, corner(place, 1, distance_m), **more)


def junction(kit: Kit, place: Place, backed_up: bool) -> None:
    """Cover a crossroads with vehicle and face functions, each twice over when ``backed_up``."""
    traffic_eyes(kit, place, 2 + int(kit.rng.random() < 0.3))
    face_checkpoint(kit, place, 1 + int(kit.rng.random() < 0.6))
    if backed_up:
        group = f"cabinet-{place.code}-B"
        kit.aimed("vehicle", place, corner(place, 3, 22), place.xy, failure_group=group)
        kit.aimed("face", place, corner(place, 0, 10), place.xy, failure_group=group)
    if kit.rng.random() < 0.45:
        dome(kit, place, **_bystander(kit))


def _bystander(kit: Kit) -> Fields:
    """Return the state of a device no requirement rests on: now and then one that does not work."""
    states: tuple[Fields, ...] = (
        {"state": "offline"}, {"state": "fault"}, {"lifecycle": "planned", "state": None},
        {"lifecycle": "repair", "state": "offline"}, {"lifecycle": "removed", "state": None},
        {"state": "online", "reported_at": "2020-01-01T00:00:00Z"}, {"state": None},
    )  # fmt: skip
    draw = kit.rng.random()
    return states[int(draw * 7 / 0.12)] if draw < 0.12 else {}


def site(kit: Kit, place: Place, backed_up: bool) -> None:
    """Cover a site with face and overview functions, each twice over when ``backed_up``."""
    face_checkpoint(kit, place, 2)
    dome(kit, place)
    if backed_up:
        kit.aimed("face", place, corner(place, 0, 9), place.xy)
        dome(kit, place, 12)


def ordinary(kit: Kit, place: Place, backed_up: bool) -> None:
    """Add what stands at a control point that is covered or backed up."""
    kind = {"core_junction": junction, "core_site": site}.get(place.category, road)
    kind(kit, place, backed_up)
