"""GB/T 28181 catalogue and GA/T 1400 objects, so that a video platform can import the devices.

Codes are those of each standard: the two differ in directions and functions. The files have devices and locations;
logins and data about people have no member.
"""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

import orjson
import shapely

from app.ingest.writers.model import Batches, FileWriter, Layout, format_column, parse_shapes
from app.messages import Message

Row = Mapping[str, Any]

_DIGITS: Final = re.compile(r"[0-9]{20}")
_ORGANISATION: Final = re.compile(r"[0-9A-Z]{12}")
_GB_DIRECTION: Final = (4, 6, 1, 5, 3, 7, 2, 8)
"""DirectionType of GB/T 28181 for north, northeast, east ..., clockwise."""
_GA_DIRECTION: Final = (4, 5, 1, 7, 3, 6, 2, 8)
"""MonitorDirection and lane Direction of GA/T 1400 for the same directions."""
_GA_ALL_ROUND: Final = 9
_GB_FUNCTION: Final = {"face": "01", "structured": "02", "vehicle": "03", "electronic": "99"}
_GA_FUNCTION: Final = {
    "vehicle": "1",
    "face": "2",
    "structured": "3",
    "overview": "5",
    "electronic": "99",
}
_GB_STRUCTURE: Final = {
    "dome": "1",
    "half_dome": "2",
    "fixed": "3",
    "ptz_bullet": "4",
    "ptz_half_dome": "5",
    "panorama": "6",
    "split_channel": "7",
}
_RESOLUTION: Final = {
    (176, 144): "1",
    (352, 288): "2",
    (704, 576): "4",
    (1280, 720): "5",
    (1920, 1080): "6",
}
_PRESENT: Final = ("in_use", "repair")
_CITY_PASS: Final = {"inbound": 1, "outbound": 2, "none": 3, "both": 4}

_BLOCK_OBJECTS: Final = 1000
_ONLY_PRESENT: Final = Message("Only devices with a 20-digit code that are in use or under repair.")

REQUIRED_FIELDS: Final = (
    "code",
    "jurisdiction",
    "name_zh",
    "name_en",
    "manufacturer",
    "model",
    "owner_unit",
    "division_code",
    "address",
    "checkpoint",
    "network_address",
    "lifecycle",
    "state",
    "structure",
    "indoor",
    "azimuth_deg",
    "horizontal_pixels",
    "vertical_pixels",
    "opening_deg",
    "vertical_opening_deg",
    "range_m",
    "point_class",
    "functions",
    "installed_on",
    "in_use_on",
    "retention_days",
    "tollgate_category",
    "tollgate_usage",
    "capture_side",
    "lanes",
)
"""Fields that the standards have members for."""


def to_octant(azimuth: float) -> int:
    """Return the eighth of the compass of an azimuth, 0 for north, clockwise.

    >>> to_octant(22.4), to_octant(22.5), to_octant(350.0), to_octant(180.0)
    (0, 1, 0, 4)
    """
    return int((azimuth + 22.5) % 360 // 45)


def is_platform_device(code: str, lifecycle: str) -> bool:
    """Return whether a platform can import a device: it has a 20-digit code and is in use or under repair."""
    return _DIGITS.fullmatch(code) is not None and lifecycle in _PRESENT


def iter_platform_rows(layout: Layout, batches: Batches) -> Iterator[Row]:
    """Yield the rows of devices that a platform can import, with their coordinates."""
    for batch in batches:
        names = [column.name for column in layout.columns]
        columns = [format_column(batch.column(column.name), column.type).to_pylist() for column in layout.columns]
        shapes = parse_shapes(batch)
        lon, lat = shapely.get_x(shapes).tolist(), shapely.get_y(shapes).tolist()
        for index, values in enumerate(zip(*columns, strict=True)):
            row = dict(zip(names, values, strict=True))
            if is_platform_device(row["code"], row["lifecycle"]):
                yield {**row, "lon": lon[index], "lat": lat[index]}


def _device_name(row: Row) -> str:
    return str(row.get("name_zh") or row.get("name_en") or row["code"])


def _division_code(row: Row) -> str:
    return str(row.get("division_code") or row["jurisdiction"])


def format_functions(row: Row, codes: Mapping[str, str]) -> str:
    """Return the functions of a device in the codes of a standard, joined with a slash."""
    functions = orjson.loads(row["functions"] or "[]")
    return "/".join(dict.fromkeys(codes[function] for function in functions if function in codes))


# GB/T 28181


def write_catalogue(layout: Layout, batches: Batches, _folder: Path) -> Iterator[bytes]:
    """Yield one Catalog response with every device as an item (GB/T 28181-2022, A.2.1.9)."""
    yield (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Response>\n<CmdType>Catalog</CmdType>\n<SN>1</SN>\n'
        f"<DeviceID>{layout.platform}</DeviceID>\n<SumNum>{layout.count}</SumNum>\n"
        f'<DeviceList Num="{layout.count}">\n'
    ).encode()
    items: list[str] = []
    for row in iter_platform_rows(layout, batches):
        items.append(format_catalogue_item(row, layout.platform))
        if len(items) == _BLOCK_OBJECTS:
            yield "".join(items).encode()
            items = []
    yield "".join([*items, "</DeviceList>\n</Response>\n"]).encode()


def format_catalogue_item(row: Row, platform: str) -> str:
    """Return a camera as an item of a GB/T 28181 catalogue."""
    checkpoint = row.get("checkpoint")
    parent = checkpoint if checkpoint and _DIGITS.fullmatch(checkpoint) else platform
    item = {
        "DeviceID": row["code"],
        "Name": _device_name(row),
        "Manufacturer": row.get("manufacturer") or "",
        "Model": row.get("model") or "",
        "CivilCode": _division_code(row),
        "Address": row.get("address") or "",
        "Parental": 0,
        "ParentID": parent,
        "RegisterWay": 1,
        "Secrecy": 0,
        "IPAddress": row.get("network_address"),
        "Status": "ON" if row.get("state") == "online" else "OFF",
        "Longitude": row["lon"],
        "Latitude": row["lat"],
    }
    azimuth, indoor, installed = row.get("azimuth_deg"), row.get("indoor"), row.get("installed_on")
    info = {
        "PTZType": _GB_STRUCTURE.get(row.get("structure") or ""),
        "RoomType": None if indoor is None else 2 if indoor else 1,
        "DirectionType": None if azimuth is None else _GB_DIRECTION[to_octant(azimuth)],
        "Resolution": format_resolution(row),
        "HorizontalFieldAngle": row.get("opening_deg"),
        "VerticalFieldAngle": row.get("vertical_opening_deg"),
        "MaxViewDistance": row.get("range_m"),
        "GrassrootsCode": "000000",
        "PointType": row.get("point_class") or 9,
        "FunctionType": format_functions(row, _GB_FUNCTION) or None,
        "InstallTime": f"{installed}T00:00:00" if installed else None,
        "ManagementUnit": row.get("owner_unit"),
        "RecordSaveDays": row.get("retention_days"),
    }
    return f"<Item>\n{format_members(item)}<Info>\n{format_members(info)}</Info>\n</Item>\n"


def format_members(values: Mapping[str, Any]) -> str:
    """Return values as elements; a missing value has none."""
    return "".join(f"<{name}>{escape(str(value))}</{name}>\n" for name, value in values.items() if value is not None)


def format_resolution(row: Row) -> str | None:
    """Return the code of a resolution, or the resolution as width and height."""
    size = row.get("horizontal_pixels"), row.get("vertical_pixels")
    if size[0] is None or size[1] is None:
        return None
    return _RESOLUTION.get((size[0], size[1]), f"{size[0]}x{size[1]}")


def list_catalogue_notes(_layout: Layout) -> Sequence[str]:
    """Return what a catalogue cannot hold."""
    return (
        _ONLY_PRESENT,
        Message("Directions are eighths of the compass; height, tilt and blind zone have no member."),
        Message("Plain video (overview) has no function code; the states fault and unknown become OFF."),
    )


CATALOGUE: Final = FileWriter("application/xml", write_catalogue, list_catalogue_notes, lonlat=True, kinds=("cameras",))


# GA/T 1400


def write_view_library(layout: Layout, batches: Batches, folder: Path) -> Iterator[bytes]:
    """Yield the objects of GA/T 1400.3 for cameras (APE) or checkpoints (Tollgate and Lane)."""
    return (write_tollgates if layout.name == "checkpoints" else write_devices)(layout, batches, folder)


def write_devices(layout: Layout, batches: Batches, _folder: Path) -> Iterator[bytes]:
    """Yield cameras as APE objects."""
    yield b'{"APEListObject":{"APEObject":['
    yield from iter_json_blocks(build_device(row) for row in iter_platform_rows(layout, batches))
    yield b"]}}\n"


def write_tollgates(layout: Layout, batches: Batches, folder: Path) -> Iterator[bytes]:
    """Yield checkpoints as tollgates, then their lanes."""
    with tempfile.TemporaryFile(dir=folder) as lanes:

        def iter_tollgates() -> Iterator[dict[str, Any]]:
            for row in iter_platform_rows(layout, batches):
                own_lanes = orjson.loads(row["lanes"] or "[]")
                for lane in iter_lane_objects(row["code"], own_lanes):
                    lanes.write((b"," if lanes.tell() else b"") + orjson.dumps(lane))
                yield build_tollgate(row, len(own_lanes))

        yield b'{"TollgateListObject":{"TollgateObject":['
        yield from iter_json_blocks(iter_tollgates())
        yield b']},"LaneListObject":{"LaneObject":['
        lanes.seek(0)
        while piece := lanes.read(1 << 18):
            yield piece
        yield b"]}}\n"


def iter_json_blocks(objects: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    """Yield objects as JSON, separated by commas, a thousand at a time."""
    pending: list[bytes] = []
    separator = b""
    for item in objects:
        pending.append(orjson.dumps(item))
        if len(pending) == _BLOCK_OBJECTS:
            yield separator + b",\n".join(pending)
            pending, separator = [], b",\n"
    if pending:
        yield separator + b",\n".join(pending)


def drop_absent(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object without the members that have no value."""
    return {name: value for name, value in values.items() if value is not None}


def build_device(row: Row) -> dict[str, Any]:
    """Return a camera as an APE object."""
    state = {"online": "1", "offline": "2", "fault": "2"}
    return drop_absent(
        {
            "ApeID": row["code"],
            "Name": _device_name(row),
            "Model": row.get("model") or "",
            "IPAddr": row.get("network_address") or "",
            "Port": 0,
            "Longitude": round(row["lon"], 6),
            "Latitude": round(row["lat"], 6),
            "PlaceCode": _division_code(row),
            "Place": row.get("address"),
            "OrgCode": _organisation_code(row),
            "MonitorDirection": format_direction(row.get("azimuth_deg")),
            "IsOnline": state.get(row.get("state") or "", "9"),
            "FunctionType": format_functions(row, _GA_FUNCTION),
        }
    )


def format_direction(azimuth: float | None) -> str:
    """Return the direction code of an azimuth."""
    return str(_GA_ALL_ROUND if azimuth is None else _GA_DIRECTION[to_octant(azimuth)])


def _organisation_code(row: Row) -> str | None:
    unit = row.get("owner_unit") or ""
    return unit if _ORGANISATION.fullmatch(unit) else None


def build_tollgate(row: Row, lanes: int) -> dict[str, Any]:
    """Return a checkpoint as a tollgate object."""
    started = row.get("in_use_on")
    return drop_absent(
        {
            "TollgateID": row["code"],
            "Name": _device_name(row),
            "Longitude": round(row["lon"], 6),
            "Latitude": round(row["lat"], 6),
            "PlaceCode": _division_code(row),
            "Place": row.get("address"),
            "Status": "1" if row["lifecycle"] == "in_use" else "2",
            "TollgateCat": row.get("tollgate_category") or "99",
            "TollgateUsage": int(row.get("tollgate_usage") or 82),
            "LaneNum": lanes,
            "OrgCode": _organisation_code(row),
            "ActiveTime": f"{started.replace('-', '')}000000" if started else None,
            "FunctionType": _GA_FUNCTION[row["kind"]] if row.get("kind") else None,
        }
    )


def iter_lane_objects(tollgate: str, lanes: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield lanes; LaneNo counts the lanes of one direction in the order of their numbers."""
    counts: dict[str, int] = {}
    for lane in sorted(lanes, key=lambda lane: int(lane["lane"])):
        direction = str(lane["direction"])
        counts[direction] = counts.get(direction, 0) + 1
        yield drop_absent(
            {
                "TollgateID": tollgate,
                "LaneId": lane["lane"],
                "LaneNo": counts[direction],
                "Name": lane.get("name") or str(lane["lane"]),
                "Direction": format_direction(lane.get("bearing_deg")),
                "MaxSpeed": lane.get("max_speed_kmh"),
                "CityPass": _CITY_PASS[direction],
                "ApeID": lane.get("camera"),
            }
        )


def list_view_library_notes(layout: Layout) -> Sequence[str]:
    """Return what the objects cannot hold."""
    notes = [
        _ONLY_PRESENT,
        Message("Directions are eighths of the compass; coordinates have six decimals."),
        Message("OrgCode is set if the owner unit is a 12-character organisation code."),
    ]
    if layout.name == "checkpoints":
        notes.append(Message("LaneNo follows the lane numbers: the registry has no sides of a road."))
    return notes


VIEW_LIBRARY: Final = FileWriter(
    "application/json", write_view_library, list_view_library_notes, lonlat=True, kinds=("cameras", "checkpoints")
)
