"""KML and KMZ (OGC 12-007): placemarks of all folders, with their extended data.

Reads the file itself and nothing it points to: network links, images and styles are not followed.
"""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from app.errors import Invalid
from app.formats import archive, crs
from app.formats.markup import coding_of
from app.formats.model import Detected, Named, Opened, Wanted
from app.formats.placemarks import placemarks
from app.formats.records import Record, gather

_LINKED: Final = "The KML links to other files; they are not fetched."
_NAMED: Final = 20
"""Folders that are named when the one that is asked for is not there."""


def open_kml(file: Named, wanted: Wanted, folder: Callable[[], Path]) -> Opened:
    """Open KML, or the first KML file of a KMZ; the layers of a KML file are its folders.

    Raises
    ------
    Invalid
        ``damaged-file``, ``unsafe-file``, ``unknown-layer``, ``wrong-encoding``.
    """
    layers: tuple[str, ...] = ()
    if zipfile.is_zipfile(file.path):
        held = [member for member in archive.members(file.path) if member.suffix == "kml"]
        layers = tuple(member.name for member in held)
        name = wanted.layer or next((name for name in layers if name == "doc.kml"), layers[0])
        member = next((member for member in held if member.name == name), None)
        if member is None:
            raise Invalid(
                f"There is no {name!r} in the KMZ; it has {', '.join(layers)}.",
                code="unknown-layer",
            )
        file = Named(archive.unpack(file.path, member, folder() / "doc.kml"), name)
    stated = None if layers else wanted.layer or wanted.sheet
    coding = coding_of(file, wanted.encoding)
    links: set[str] = set()
    found = gather(_of_folder(placemarks(file, coding, links), stated))
    if links and not found.count:
        raise Invalid(
            "The KML has no places, only links to other files; send the file it links to.",
            code="empty-file",
        )
    detected = Detected(
        format="kml",
        encoding=coding.name,
        layer=file.name if layers else stated,
        layers=layers,
        crs=crs.LONLAT if found.shapes else None,
        geometry=found.shapes,
        rows=found.count,
        notes=(*coding.notes, *((_LINKED,) if links else ())),
    )
    return found.opened(detected)


def _of_folder(found: Iterator[Record], stated: str | None) -> Iterator[Record]:
    """Yield the placemarks of a folder, named alone or with those it lies in, and of those within.

    Raises
    ------
    Invalid
        ``unknown-layer``.
    """
    if stated is None:
        yield from found
        return
    others: dict[str, None] = {}
    met = False
    for record in found:
        folder = record.values.get("folder") or ""
        if f"/{stated}/" in f"/{folder}/":
            met = True
            yield record
        elif folder and len(others) < _NAMED:
            others[folder] = None
    if not met:
        known = ", ".join(others) or "no folder with placemarks"
        raise Invalid(f"There is no layer {stated!r}; the file has {known}.", code="unknown-layer")
