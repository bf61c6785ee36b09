"""Builds the drafts of checkpoints and cameras of the demo city.

Every device has a unique GB/T 28181 code, an organisation as owner, purpose, legal basis, retention, sign and filing.
Nothing is about people.
"""

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

import numpy as np

from app.demo.city_plan import compute_azimuth, normalize_azimuth, to_lonlat
from app.demo.control_points import DemoPoint
from app.demo.rings import Floats
from app.models.vocabulary import CheckpointKind, Function

Fields = dict[str, Any]

LEGAL_BASIS: Final = "公共安全视频图像信息系统管理条例 第七条"
TRAFFIC_POLICE: Final = "焦作市公安局交通警察支队"
MAINTENANCE: Final = "演示系统运维单位"
MAKER: Final = "演示设备厂"
POLICE: Final[dict[str, str]] = {
    "410802": "焦作市公安局解放分局",
    "410803": "焦作市公安局中站分局",
    "410804": "焦作市公安局马村分局",
    "410811": "焦作市公安局山阳分局",
    "410821": "修武县公安局",
    "410822": "博爱县公安局",
    "410823": "武陟县公安局",
}
PURPOSES: Final[dict[str, str]] = {
    "vehicle": "重点道路通行车辆安全防控",
    "face": "重点部位公共安全防控",
    "structured": "道路交通安全管理",
    "overview": "公共区域治安防控",
    "electronic": "道路交通秩序管理",
}
OPTICS: Final[dict[str, Fields]] = {
    "vehicle": {
        "horizontal_pixels": 4096,
        "vertical_pixels": 2160,
        "mount_height_m": 6.2,
        "tilt_deg": -14.0,
        "near_m": 8.0,
        "structure": "fixed",
        "point_class": 1,
    },
    "face": {
        "horizontal_pixels": 2560,
        "vertical_pixels": 1440,
        "mount_height_m": 3.0,
        "tilt_deg": -10.0,
        "near_m": 2.0,
        "structure": "fixed",
        "point_class": 1,
    },
    "overview": {"range_m": 80.0, "mount_height_m": 8.0, "structure": "dome", "point_class": 2},
    "electronic": {"range_m": 60.0, "mount_height_m": 6.0, "structure": "other", "point_class": 9},
}
"""Optics by first function; a dome and an electronic collector observe all directions."""


CAMERA_LABELS: Final[dict[str, tuple[str, str]]] = {
    "vehicle": ("车辆抓拍机", "vehicle camera"),
    "face": ("人员抓拍机", "face camera"),
    "overview": ("全景球机", "overview dome"),
    "electronic": ("电子采集设备", "electronic collector"),
}
CHECKPOINT_LABELS: Final[dict[str, tuple[str, str]]] = {
    "vehicle": ("车辆卡口", "vehicle checkpoint"),
    "face": ("人员卡口", "face checkpoint"),
}


@dataclass
class DeviceFactory:
    """Collects the drafts of devices; their locations are in metres until `build_drafts`."""

    rng: np.random.Generator
    jurisdiction: str
    checkpoints: list[Fields] = field(default_factory=list)
    cameras: list[Fields] = field(default_factory=list)

    def add_checkpoint(self, kind: CheckpointKind, demo_point: DemoPoint, xy: Floats, **fields: Any) -> Fields:
        """Add a checkpoint that is assigned to a control point, and return its draft."""
        serial = len(self.checkpoints) + 1
        draft = {
            "code": f"{demo_point.division}00051210{serial:06d}",
            "kind": kind,
            "tollgate_usage": "80" if kind == "vehicle" else "81",
            **self.build_common_fields(demo_point, CHECKPOINT_LABELS[kind], serial, kind),
            "geometry": np.asarray(xy),
            **fields,
        }
        if kind == "vehicle":
            draft |= {"tollgate_category": "31", "capture_side": "front"}
        self.checkpoints.append(draft)
        return draft

    def add_camera(self, functions: list[Function], demo_point: DemoPoint, xy: Floats, **fields: Any) -> Fields:
        """Add a camera that is assigned to a control point, and return its draft."""
        serial, first = len(self.cameras) + 1, functions[0]
        industry = "05" if first in {"vehicle", "electronic"} else "00"
        kind = 131 if first == "electronic" else 132
        draft = {
            "code": f"{demo_point.division}00{industry}{kind}0{serial:06d}",
            "functions": functions,
            **OPTICS[first],
            **self.build_common_fields(demo_point, CAMERA_LABELS[first], serial, first),
            "serial_number": f"DEMO-{serial:06d}",
            "geometry": np.asarray(xy),
            **fields,
        }
        self.cameras.append(draft)
        return draft

    def add_aimed_camera(
        self, function: Function, demo_point: DemoPoint, xy: Floats, target: Floats, **fields: Any
    ) -> Fields:
        """Add a camera at ``xy`` that looks at ``target`` from just within its range."""
        distance = float(np.hypot(*(target - xy)))
        narrow, wide = ((14, 26), (25, 40)) if function == "vehicle" else ((26, 34), (18, 25))
        swing = self.rng.uniform(-1.5, 1.5)
        optics = {
            "azimuth_deg": normalize_azimuth(compute_azimuth(target - xy) + swing),
            "opening_deg": round(float(self.rng.uniform(*narrow)), 1),
            "range_m": round(max(float(self.rng.uniform(*wide)), distance + 2), 1),
        }
        return self.add_camera([function], demo_point, xy, **{**optics, **fields})

    def build_drafts(self) -> tuple[list[Fields], list[Fields]]:
        """Return the drafts of checkpoints and cameras with their locations as GeoJSON."""
        for drafts in (self.checkpoints, self.cameras):
            lonlat = to_lonlat(np.array([draft["geometry"] for draft in drafts])).tolist()
            for draft, point in zip(drafts, lonlat, strict=True):
                draft["geometry"] = {"type": "Point", "coordinates": point}
        return self.checkpoints, self.cameras

    def build_common_fields(self, demo_point: DemoPoint, label: tuple[str, str], serial: int, purpose: str) -> Fields:
        """Return the fields that checkpoints and cameras share."""
        return {
            "jurisdiction": self.jurisdiction,
            "name_zh": f"{demo_point.name_zh}{label[0]}{serial:04d}",
            "name_en": f"{demo_point.name_en}, {label[1]} {serial}",
            "division_code": demo_point.division,
            "control_point": demo_point.code,
            "lifecycle": "in_use",
            "state": "online",
            "manufacturer": MAKER,
            "model": f"DEMO-{purpose[:1].upper()}900",
            **self.build_accountability_fields(demo_point, purpose),
        }

    def build_accountability_fields(self, demo_point: DemoPoint, purpose: str) -> Fields:
        """Return owner, purpose, legal basis, retention, sign, filing and dates of a device."""
        traffic = purpose in {"vehicle", "structured", "electronic"}
        number = len(self.checkpoints) + len(self.cameras) + 1
        site = demo_point.category == "core_site"
        signed = bool(self.rng.random() < 0.96)
        built = date(2021, 1, 4) + timedelta(days=int(self.rng.integers(0, 1400)))
        return {
            "owner_unit": TRAFFIC_POLICE if traffic else POLICE[demo_point.division],
            "maintenance_unit": MAINTENANCE,
            "purpose": PURPOSES[purpose],
            "legal_basis": LEGAL_BASIS,
            "retention_days": 30 if site else 90,
            "sign_present": signed,
            "sign_on": "2025-06-30" if signed else None,
            "filing_number": f"演示备案-{demo_point.division}-{number:06d}",
            "filed_on": "2025-06-15",
            "installed_on": built.isoformat(),
            "in_use_on": (built + timedelta(days=30)).isoformat(),
            "review_due": "2027-06-30",
        }
