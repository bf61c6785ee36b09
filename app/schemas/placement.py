"""Questions of placement and their answers as they travel."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.models.fields import CodeText
from app.models.vocabulary import Category, Function
from app.schemas.coverage import Answer

MOST_SITES: Final = 20_000
Place = Literal["crossing", "junction", "control_point"]
_PLACES: Final[tuple[Place, ...]] = ("crossing", "junction", "control_point")
Goal = Literal["cover_all", "backup", "most_valuable"]
_Cost = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Site(_Strict):
    """A place where a device could be put."""

    at: Annotated[
        list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=2, max_length=2)
    ] = Field(description="[lon, lat] in degrees.", examples=[[113.24, 35.22]])
    cost: _Cost = Field(1.0, description="What a device there costs.")
    name: str | None = Field(None, max_length=100, description="What to call it in the answer.")


class PlacementQuestion(_Strict):
    """Where new devices should go. What is covered now stays as it is and is not bought twice."""

    goal: Goal = Field(
        description="`cover_all`: cheapest that covers every open point; `backup`: every point by "
        "two devices; `most_valuable`: the greatest value within `budget`."
    )
    function: Function = Field("vehicle", description="What the new devices can do.")
    range_m: float = Field(
        gt=0, le=5000, allow_inf_nan=False, description="How far a new device serves."
    )
    points: list[CodeText] | None = Field(
        None, max_length=10_000, description="Control points that matter; not given: all."
    )
    weights: dict[Category, Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]] = (
        Field(default_factory=dict, description="Value of a point by its category; not given: 1.")
    )
    sites: list[Site] | None = Field(
        None, max_length=MOST_SITES, description="Where devices could go; not given: see `sources`."
    )
    sources: list[Place] = Field(
        default_factory=lambda: list(_PLACES),
        max_length=3,
        description="Places of the registry where devices could go, where no sites are given.",
    )
    costs: dict[Place, _Cost] = Field(
        default_factory=dict, description="Cost of a device by source; not given: 1."
    )
    budget: float | None = Field(
        None, ge=0, le=1e12, allow_inf_nan=False,
        description="With `most_valuable`: what may be spent; with costs of 1, how many devices.",
    )  # fmt: skip
    time_limit_s: float = Field(
        10.0, ge=0.1, le=60, allow_inf_nan=False,
        description="When it is up, the best found so far is told with its bound.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _budget_where_it_counts(self) -> "PlacementQuestion":
        if (self.goal == "most_valuable") is not (self.budget is not None):
            raise PydanticCustomError(
                "budget-of-goal", "most_valuable needs a budget, nothing else has one",
                {"member": "budget"},
            )  # fmt: skip
        return self


class PlacementAnswer(Answer):
    """The sites to take, as a GeoJSON FeatureCollection."""

    type: Literal["FeatureCollection"]
    features: list[dict[str, Any]] = Field(
        description="Points with `cost`, `source`, `name` and the codes they `cover`."
    )
    goal: Goal
    status: Literal["optimal", "time_limit", "nothing_to_do", "out_of_reach"]
    proven: bool = Field(description="No better answer exists among these sites.")
    cost: float
    value: float
    bound: float = Field(
        description="No answer costs less; with `most_valuable`: none is worth more."
    )
    gap: float = Field(description="How far the answer may be from the optimum; 0 is proven.")
    points: int = Field(description="Control points that matter and need this function.")
    met_before: int = Field(description="Of these, met as often as needed now.")
    met_after: int
    candidates: int = Field(description="Sites within range of a point that lacks something.")
    out_of_reach: list[str] = Field(description="Points that no choice of these sites can meet.")
