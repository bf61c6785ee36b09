"""The report on the road network as it travels."""

from typing import Any

from pydantic import BaseModel, Field

from app.models.vocabulary import Level
from app.schemas.coverage import Answer


class OddRoads(BaseModel):
    """Roads with something odd about them; all are counted, some are named."""

    count: int
    roads: list[str]


class Components(BaseModel):
    """Parts of the network that no road joins."""

    count: int
    longest_m: list[float] = Field(description="Metres of road in each, the longest first.")
    outside_longest: OddRoads = Field(description="Roads that do not reach the longest part.")


class DeadEnd(BaseModel):
    """A road that stops near a ring's line without crossing it."""

    level: Level
    road: str
    within_m: float
    geometry: dict[str, Any]


class Network(BaseModel):
    """What the roads make together."""

    roads: int
    groups: int = Field(description="Road groups: by group, number or name, else each its own.")
    edges: int
    junctions: int
    length_m: float
    not_drivable_edges: int = Field(description="Paths: in the registry, not for vehicles.")
    components: Components
    dead_ends: int
    dead_ends_at_ring: list[DeadEnd]
    duplicate: OddRoads = Field(description="They repeat another; the greater road counts.")
    zero_length: OddRoads = Field(description="Without extent; left out.")
    self_crossing: OddRoads = Field(description="They cross themselves without a junction.")
    snapped_ends: int = Field(description="Ends moved by the jurisdiction's road_snap_m.")


class NetworkAnswer(Answer):
    """The report on the road network; null when no road or no ring is registered."""

    network: Network | None
