"""What the GIS interface says about itself: landing page, conformance, API, collections, schemas."""

from collections.abc import Callable
from typing import Any, Final

from starlette.responses import Response

from app.routers.lean import Call, LeanRoute
from app.routers.ogc import formats
from app.routers.ogc.api import describe
from app.schemas import ogc
from app.schemas.collections import Collection
from app.schemas.ogc import HTML, OPENAPI, SCHEMA
from app.services.ogc import features
from app.services.ogc.features import Features

ONLY_FORMAT: Final = frozenset({"f"})


def base(call: Call) -> str:
    """Return the address of the GIS interface."""
    return f"{call.base}/ogc"


def service(call: Call) -> Features:
    """Return the features of the running service."""
    found: Features = call.request.app.state.features
    return found


async def landing(call: Call) -> Response:
    app = call.request.app
    told = ogc.landing(base(call), app.title, app.description)
    if formats.chosen(call, formats.DOCUMENT) == HTML:
        return formats.page("landing.html", base=base(call), told=told)
    return formats.document(told)


async def conformance(call: Call) -> Response:
    told = ogc.conformance()
    if formats.chosen(call, formats.DOCUMENT) == HTML:
        return formats.page("conformance.html", base=base(call), told=told)
    return formats.document(told)


async def functions(call: Call) -> Response:
    told = ogc.functions()
    if formats.chosen(call, formats.DOCUMENT) == HTML:
        return formats.page("functions.html", base=base(call), told=told)
    return formats.document(told)


async def api(call: Call) -> Response:
    told = describe(call.request.app, base(call))
    if formats.chosen(call, formats.API, lenient=True) == HTML:
        return formats.page("api.html", base=base(call), told=told)
    return formats.document(told, OPENAPI)


async def collections(call: Call) -> Response:
    known = features.known_to(call.who)
    extent = await service(call).extent(call.who)
    told = ogc.collections(base(call), known, extent)
    if formats.chosen(call, formats.DOCUMENT) == HTML:
        return formats.page("collections.html", base=base(call), told=told)
    return formats.document(told)


async def collection(call: Call) -> Response:
    known = features.named(call.path["collection"], call.who)
    extent = await service(call).extent(call.who)
    told = ogc.collection(base(call), known, extent)
    if formats.chosen(call, formats.DOCUMENT) == HTML:
        return formats.page("collection.html", base=base(call), told=told)
    return formats.document(told)


def _schema(heading: str, make: Callable[..., dict[str, Any]]) -> Callable[[Call], Any]:
    async def answer(call: Call) -> Response:
        known: Collection = features.named(call.path["collection"], call.who)
        told = make(base(call), known, reveal=call.who.reveals)
        if formats.chosen(call, formats.SCHEMAS) == HTML:
            members = told["properties"]
            members = members["properties"]["properties"] if make is ogc.feature_schema else members
            return formats.page(
                "schema.html", base=base(call), collection=known, told=told, members=members,
                heading=heading,
            )  # fmt: skip
        return formats.document(told, SCHEMA)

    return answer


_COLLECTION: Final = "/ogc/collections/{collection}"

ROUTES: list[LeanRoute] = [
    LeanRoute(path, handler, parameters=ONLY_FORMAT)
    for path, handler in (
        ("/ogc", landing),
        ("/ogc/", landing),
        ("/ogc/conformance", conformance),
        ("/ogc/functions", functions),
        ("/ogc/api", api),
        ("/ogc/collections", collections),
        (_COLLECTION, collection),
        (f"{_COLLECTION}/schema", _schema("schema", ogc.schema)),
        (
            f"{_COLLECTION}/schema/feature",
            _schema("schema of a GeoJSON Feature", ogc.feature_schema),
        ),
        (f"{_COLLECTION}/queryables", _schema("what filters may name", ogc.queryables)),
        (f"{_COLLECTION}/sortables", _schema("what sorts", ogc.sortables)),
    )
]
