"""What every result says about what was not assessed does not depend on the modules that are imported."""

import subprocess
import sys
from datetime import UTC, datetime

import orjson

from app.analysis.metadata import build_result
from app.analysis.queries import TABLES, JurisdictionRules
from app.analysis.results import Analysis, compute_analysis
from app.analysis.snapshot import TABLE_FIELDS, Snapshot

SCRIPT = """
import orjson
from tests.analysis.test_metadata import build_analysis
from app.analysis.metadata import build_result
print(orjson.dumps(build_result(build_analysis())["not_assessed"]).decode())
"""


def build_analysis(**tables: dict[str, list[object]]) -> Analysis:
    """Return the analysis of a jurisdiction without records, except for some tables."""
    rules = JurisdictionRules({}, {}, {}, metric_epsg=None, stale_after_s=3600, rings=())
    empty: dict[str, dict[str, list[object]]] = {
        field: {name: [] for name in TABLES[kind]} for kind, field in TABLE_FIELDS.items()
    }
    return compute_analysis(Snapshot("410800", 1, datetime.now(UTC), rules, **{**empty, **tables}))  # type: ignore[arg-type]  # columns by name


def test_a_jurisdiction_without_records_has_nothing_assessed() -> None:
    entries = build_result(build_analysis())["not_assessed"]
    reason = "this ring is not registered"
    expected = [{"what": "zone", "level": level, "reason": reason} for level in ("core", "urban", "city")]
    expected.append({"what": "area", "reason": "no ring is registered"})
    for subject in ("cordon", "crossings"):
        expected += [{"what": subject, "level": level, "reason": reason} for level in ("city", "urban", "core")]
    assert entries == expected


def test_the_reasons_are_the_same_whatever_is_imported() -> None:
    """The text about area was once wrong until the module of area coverage was imported and replaced it."""
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True, text=True)
    assert orjson.loads(run.stdout) == build_result(build_analysis())["not_assessed"]
