"""Devices at an ordinary control point: they cover it, or back it up.

Every device works, has the needed function, and has the point in its field of view. `app.demo.planted_faults`
builds gaps from the same functions. Devices of one cabinet share a ``failure_group``.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from app.demo.city_plan import compute_azimuth
from app.demo.control_points import DemoPoint
from app.demo.device_factory import DeviceFactory, Fields
from app.demo.rings import Floats, unit_vector

BOTH: Final = ("inbound", "outbound")
LANE_M: Final = 3.5


def get_inbound_vector(demo_point: DemoPoint) -> Floats:
    """Return the unit vector of inbound travel at a road point."""
    if demo_point.inbound is None:
        msg = f"{demo_point.code} is not on a road"
        raise ValueError(msg)
    return demo_point.inbound


def rotate_right(direction: Floats) -> Floats:
    """Return the unit vector to the right of a travel direction."""
    return np.array([direction[1], -direction[0]])


def add_gantry(
    factory: DeviceFactory,
    demo_point: DemoPoint,
    directions: Sequence[str] = BOTH,
    per_direction: int = 1,
    ahead_m: float = 3.0,
    **fields: Any,
) -> Fields:
    """Add a vehicle checkpoint with a camera per lane, ``ahead_m`` inward of a road point.

    ``fields`` are set in the checkpoint and in its cameras, like a common failure.
    """
    inbound = get_inbound_vector(demo_point)
    foot = demo_point.xy + inbound * ahead_m
    streets = demo_point.streets[-1:] if tuple(directions) == ("inbound",) else demo_point.streets[:1]
    checkpoint = factory.add_checkpoint(
        "vehicle", demo_point, foot + rotate_right(inbound) * 2, road=streets[0], lanes=[], **fields
    )
    for direction in directions:
        travel = inbound if direction == "inbound" else -inbound
        for lane in range(per_direction):
            add_lane(factory, demo_point, checkpoint, direction, travel, foot, lane, fields)
    return checkpoint


def add_lane(
    factory: DeviceFactory,
    demo_point: DemoPoint,
    checkpoint: Fields,
    direction: str,
    travel: Floats,
    foot: Floats,
    lane: int,
    fields: Fields,
) -> None:
    """Add one lane: a camera past the point, looking back at the fronts of vehicles."""
    stand = foot + travel * factory.rng.uniform(19, 22) + rotate_right(travel) * LANE_M * (lane + 0.5) * 0.6
    camera = factory.add_aimed_camera(
        "vehicle",
        demo_point,
        stand,
        demo_point.xy,
        direction=direction,
        checkpoint=checkpoint["code"],
        **fields,
    )
    if factory.rng.random() < 0.2:
        camera["functions"] = ["vehicle", "structured"]
    checkpoint["lanes"].append(
        {
            "lane": len(checkpoint["lanes"]) + 1,
            "direction": direction,
            "bearing_deg": compute_azimuth(travel),
            "max_speed_kmh": 60,
            "camera": camera["code"],
        }
    )


def add_small_checkpoint(factory: DeviceFactory, demo_point: DemoPoint, **fields: Any) -> None:
    """Add a small checkpoint: one camera for both directions."""
    inbound = get_inbound_vector(demo_point)
    foot = demo_point.xy + inbound * 3
    checkpoint = factory.add_checkpoint(
        "vehicle", demo_point, foot + rotate_right(inbound) * 2, road=demo_point.streets[0], **fields
    )
    camera = factory.add_aimed_camera(
        "vehicle",
        demo_point,
        foot + inbound * 18,
        demo_point.xy,
        direction="both",
        checkpoint=checkpoint["code"],
        **fields,
    )
    checkpoint["lanes"] = [
        {"lane": 1, "direction": "both", "bearing_deg": compute_azimuth(inbound), "camera": camera["code"]}
    ]


def add_backup_cameras(factory: DeviceFactory, demo_point: DemoPoint) -> None:
    """Add two cameras on another pole, one for each direction, that see the same point."""
    inbound, group = get_inbound_vector(demo_point), f"cabinet-{demo_point.code}-B"
    for direction, travel in (("inbound", inbound), ("outbound", -inbound)):
        stand = demo_point.xy + travel * 24 - rotate_right(travel) * 5
        factory.add_aimed_camera("vehicle", demo_point, stand, demo_point.xy, direction=direction, failure_group=group)


def add_exit_camera(factory: DeviceFactory, demo_point: DemoPoint) -> None:
    """Add a camera on another pole for outbound traffic, so that no single failure opens the exit."""
    inbound, group = get_inbound_vector(demo_point), f"pole-{demo_point.code}-C"
    stand = demo_point.xy - inbound * 25 + rotate_right(inbound) * 6
    factory.add_aimed_camera("vehicle", demo_point, stand, demo_point.xy, direction="outbound", failure_group=group)


def cover_road_point(factory: DeviceFactory, demo_point: DemoPoint, backed_up: bool) -> None:
    """Cover a road point, twice if ``backed_up``."""
    if demo_point.carriageways > 1:
        add_gantry(factory, demo_point, ("inbound",), 2)
        add_gantry(factory, demo_point, ("outbound",), 2, ahead_m=-3)
    elif len(demo_point.directions) == 1 or factory.rng.random() < 0.8:
        add_gantry(factory, demo_point, demo_point.directions, 1 + int(factory.rng.random() < 0.5))
    else:
        add_small_checkpoint(factory, demo_point)
    if backed_up:
        add_backup_cameras(factory, demo_point)
    if factory.rng.random() < 0.15:
        factory.add_camera(["electronic"], demo_point, demo_point.xy + rotate_right(get_inbound_vector(demo_point)) * 9)


def compute_corner(demo_point: DemoPoint, quarter: int, distance_m: float) -> Floats:
    """Return the location of a pole at a corner of a crossroads; quarters are counted from the east."""
    return np.asarray(demo_point.xy + unit_vector(np.radians(45.0 + 90 * quarter)) * distance_m)


def add_vehicle_cameras(factory: DeviceFactory, demo_point: DemoPoint, count: int = 2, **fields: Any) -> None:
    """Add vehicle cameras of one cabinet at the corners of a crossroads."""
    for number in range(count):
        stand = compute_corner(demo_point, number, factory.rng.uniform(18, 21))
        group = {"failure_group": f"cabinet-{demo_point.code}-A"}
        factory.add_aimed_camera("vehicle", demo_point, stand, demo_point.xy, direction="none", **{**group, **fields})


def add_face_checkpoint(factory: DeviceFactory, demo_point: DemoPoint, count: int = 2, **fields: Any) -> None:
    """Add a face checkpoint with its cameras at a crossroads or a site."""
    checkpoint = factory.add_checkpoint("face", demo_point, compute_corner(demo_point, 2, 3), lanes=[], **fields)
    for number in range(count):
        stand = compute_corner(demo_point, number + 2, factory.rng.uniform(8, 11))
        factory.add_aimed_camera("face", demo_point, stand, demo_point.xy, checkpoint=checkpoint["code"], **fields)


def add_dome(factory: DeviceFactory, demo_point: DemoPoint, distance_m: float = 6.0, **fields: Any) -> None:
    """Add an overview dome."""
    factory.add_camera(["overview"], demo_point, compute_corner(demo_point, 1, distance_m), **fields)


def cover_junction(factory: DeviceFactory, demo_point: DemoPoint, backed_up: bool) -> None:
    """Cover a crossroads with vehicle and face functions, each twice if ``backed_up``."""
    add_vehicle_cameras(factory, demo_point, 2 + int(factory.rng.random() < 0.3))
    add_face_checkpoint(factory, demo_point, 1 + int(factory.rng.random() < 0.6))
    if backed_up:
        group = f"cabinet-{demo_point.code}-B"
        factory.add_aimed_camera(
            "vehicle", demo_point, compute_corner(demo_point, 3, 22), demo_point.xy, failure_group=group
        )
        factory.add_aimed_camera(
            "face", demo_point, compute_corner(demo_point, 0, 10), demo_point.xy, failure_group=group
        )
    if factory.rng.random() < 0.45:
        add_dome(factory, demo_point, **choose_spare_state(factory))


def choose_spare_state(factory: DeviceFactory) -> Fields:
    """Return the state of a device that no requirement depends on; 12 % of them do not work."""
    states: tuple[Fields, ...] = (
        {"state": "offline"},
        {"state": "fault"},
        {"lifecycle": "planned", "state": None},
        {"lifecycle": "repair", "state": "offline"},
        {"lifecycle": "removed", "state": None},
        {"state": "online", "reported_at": "2020-01-01T00:00:00Z"},
        {"state": None},
    )
    draw = factory.rng.random()
    return states[int(draw * 7 / 0.12)] if draw < 0.12 else {}


def cover_site(factory: DeviceFactory, demo_point: DemoPoint, backed_up: bool) -> None:
    """Cover a site with face and overview functions, each twice if ``backed_up``."""
    add_face_checkpoint(factory, demo_point, 2)
    add_dome(factory, demo_point)
    if backed_up:
        factory.add_aimed_camera("face", demo_point, compute_corner(demo_point, 0, 9), demo_point.xy)
        add_dome(factory, demo_point, 12)


def cover_point(factory: DeviceFactory, demo_point: DemoPoint, backed_up: bool) -> None:
    """Install the devices of a control point that is covered or backed up."""
    kind = {"core_junction": cover_junction, "core_site": cover_site}.get(demo_point.category, cover_road_point)
    kind(factory, demo_point, backed_up)
