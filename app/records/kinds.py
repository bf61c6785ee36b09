"""The kinds of records that share one mechanism, each described by what differs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel

from app.records.drafts import (
    BuildingDraft,
    CameraDraft,
    CheckpointDraft,
    ControlPointDraft,
    Draft,
    JurisdictionDraft,
    RoadDraft,
)
from app.records.views import (
    BuildingView,
    CameraPast,
    CameraView,
    CheckpointPast,
    CheckpointView,
    ControlPointPast,
    ControlPointView,
    JurisdictionView,
    RoadView,
)


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of record: its names, its wire types, and the rules that are its own."""

    name: str
    """Name of the table and of the kind in history and states."""
    plural: str
    """Name in routes and collections."""
    title: str
    """Name in sentences."""
    draft: type[Draft]
    view: type[BaseModel]
    past: type[BaseModel]
    """What ``as_of`` answers: only what was registered."""
    filters: frozenset[str]
    """List filters beyond jurisdiction, bbox, q, updated_since."""
    placed: bool = False
    """Lies in the rings: has zone, rings, on_boundary, distance_m."""
    device: bool = False
    """Reports a state."""
    shaped: bool = True
    """Has a geometry."""
    write_role: str = "editor"
    references: Mapping[str, str] = field(default_factory=dict)
    """Column -> table of the records it points to, inside the same jurisdiction."""
    restricted: frozenset[str] = frozenset()
    """Columns only editors of the jurisdiction see."""


_DEVICE = frozenset({"zone", "kind", "function", "lifecycle", "state", "control_point"})

JURISDICTION = Kind(
    name="jurisdiction",
    plural="jurisdictions",
    title="jurisdiction",
    draft=JurisdictionDraft,
    view=JurisdictionView,
    past=JurisdictionView,
    filters=frozenset(),
    shaped=False,
    write_role="admin",
)
CONTROL_POINT = Kind(
    name="control_point",
    plural="control-points",
    title="control point",
    draft=ControlPointDraft,
    view=ControlPointView,
    past=ControlPointPast,
    filters=frozenset({"zone", "category"}),
    placed=True,
)
ROAD = Kind(
    name="road",
    plural="roads",
    title="road",
    draft=RoadDraft,
    view=RoadView,
    past=RoadView,
    filters=frozenset({"road_class", "group"}),
)
BUILDING = Kind(
    name="building",
    plural="buildings",
    title="building",
    draft=BuildingDraft,
    view=BuildingView,
    past=BuildingView,
    filters=frozenset(),
)
CHECKPOINT = Kind(
    name="checkpoint",
    plural="checkpoints",
    title="checkpoint",
    draft=CheckpointDraft,
    view=CheckpointView,
    past=CheckpointPast,
    filters=_DEVICE,
    placed=True,
    device=True,
    references={"control_point": "control_point", "road": "road"},
    restricted=frozenset({"network_address"}),
)
CAMERA = Kind(
    name="camera",
    plural="cameras",
    title="camera",
    draft=CameraDraft,
    view=CameraView,
    past=CameraPast,
    filters=(_DEVICE - {"kind"}) | {"structure", "checkpoint"},
    placed=True,
    device=True,
    references={"control_point": "control_point", "checkpoint": "checkpoint"},
    restricted=frozenset({"network_address"}),
)

KINDS = (JURISDICTION, CONTROL_POINT, ROAD, BUILDING, CHECKPOINT, CAMERA)
BY_NAME = {kind.name: kind for kind in KINDS}
DEVICES = (CHECKPOINT, CAMERA)
