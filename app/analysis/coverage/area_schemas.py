"""Fields of view and covered area as they travel."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from app.analysis.coverage.schemas import Answer
from app.models.vocabulary import Function, Level


class ViewProperties(BaseModel):
    """What a field of view is made from, and what cut it."""

    code: str
    function: Function | None = Field(description="Function whose density limits it; null: any.")
    basis: Literal["stated", "optics", "assumed", "drawn"] = Field(
        description="Where its extent comes from: a stated range or reach, resolution and lens, the "
        "jurisdiction's assumption, or a drawing."
    )
    range_m: float
    near_m: float | None = Field(description="Blind zone; null for a drawn view.")
    azimuth_deg: float | None = Field(description="From true north; null looks all round.")
    opening_deg: float | None
    opening_assumed: bool
    px_per_m: float | None = Field(description="Density the view is drawn for; null where none is.")
    standing: Literal["free", "wall", "roof", "indoors"] = Field(
        description="Where the camera is in relation to the buildings."
    )
    area_m2: float
    open_area_m2: float = Field(description="Area before buildings cut it.")
    cut_ratio: float | None = Field(description="Share that buildings take away.")
    cut_by: list[str] = Field(description="Codes of the buildings that cut it.")
    working: bool


class FieldOfView(Answer):
    """What one camera sees, as a GeoJSON Feature; the geometry is null when it sees nothing."""

    type: Literal["Feature"]
    id: str
    geometry: dict[str, Any] | None
    properties: ViewProperties


class Times(BaseModel):
    """Area that at least k cameras see."""

    k: int
    covered_m2: float
    covered_ratio: float | None


class Extent(BaseModel):
    """Area of some ground and how much of it is covered."""

    area_m2: float
    covered_m2: float
    covered_ratio: float | None
    at_least: list[Times]


class ZoneArea(Extent):
    """The same of one zone: the ring less the rings inside it."""

    zone: Level


class Counted(BaseModel):
    """Which cameras were counted."""

    counted: int
    left_out: dict[str, int] = Field(description="Cameras that were not, by the reason.")


class Share(BaseModel):
    """What one camera adds."""

    code: str
    seen_m2: float = Field(description="Area of the zones it sees.")
    only_m2: float = Field(description="Area of the zones that no other camera sees.")


class AreaCoverage(Answer):
    """Covered area of the zones of a jurisdiction."""

    function: Function | None
    working: bool
    k: int
    zones: list[ZoneArea]
    total: Extent
    cameras: Counted
    shares: list[Share] | None = Field(None, description="Only when asked for.")
