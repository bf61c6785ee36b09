"""The collections of the GIS interface, described by data.

A collection of records takes its properties from the kind's own view: a field declared once shows here
too. A collection of answers says what its features carry; whoever adds an answer adds one entry.
"""

from typing import Final

from app.models.vocabulary import Datum, Level
from app.schemas import kinds
from app.schemas.answer_collections import ANSWERS
from app.schemas.collection import Collection as Collection
from app.schemas.collection import Property as Property
from app.schemas.collection import Type as Type
from app.schemas.collection import of_kind, of_model
from app.schemas.records import RingDraft
from app.schemas.views import Kept


class _RingView(RingDraft, Kept):  # type: ignore[misc]  # pydantic merges the configs
    """A ring boundary as a feature shows it."""

    level: Level
    datum_received: Datum


RINGS: Final = Collection(
    id="rings",
    title_zh="控制圈",
    title_en="Control rings",
    description="Boundaries in force of the three control rings: city border, urban area, main core.",
    properties=(
        Property("code", "text", "Jurisdiction and level.", role="id", kept=True),
        *of_model(_RingView, RingDraft),
        Property("vertices", "integer", "Vertices of the boundary.", kept=True),
    ),
    shapes=("MultiPolygon",),
    writes=("POST", "PUT", "PATCH", "DELETE"),
    interval=("valid_from", None),
)

_TOLD: Final = {
    "control_point": ("控制点", "Control points", "Places that must be covered."),
    "checkpoint": ("卡口", "Checkpoints", "Face and vehicle checkpoints with their lanes."),
    "camera": ("摄像机", "Cameras", "Devices with their functions, optics and state."),
    "building": ("建筑物", "Buildings", "Outlines and heights that cut fields of view."),
    "road": ("道路", "Roads", "Centrelines of roads."),
}

COLLECTIONS: Final[tuple[Collection, ...]] = (
    *(
        of_kind(kind, *_TOLD.get(kind.name, ("", kind.title.capitalize(), "")))
        for kind in kinds.KINDS
        if kind.shaped
    ),
    RINGS,
    *ANSWERS,
)
"""Every collection, in the order they are listed."""

BY_ID: Final = {collection.id: collection for collection in COLLECTIONS}
