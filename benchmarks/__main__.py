"""Run every measurement, or those named: ``python -m benchmarks [cordon] [coverage] ...``."""

import sys

from benchmarks import (
    bench_area,
    bench_cordon,
    bench_coverage_engine,
    bench_export,
    bench_formats,
    bench_gis_servers,
    bench_import,
    bench_membership,
    bench_ogc,
    bench_service,
    bench_states,
    bench_tiles,
)

MEASUREMENTS = {
    "membership": bench_membership.main,
    "coverage": bench_coverage_engine.main,
    "area": bench_area.main,
    "service": bench_service.main,
    "cordon": lambda: bench_cordon.main([]),
    "states": bench_states.main,
    "import": bench_import.main,
    "formats": bench_formats.main,
    "export": bench_export.main,
    "ogc": bench_ogc.main,
    "gis-servers": bench_gis_servers.main,
    "tiles": bench_tiles.main,
}


def main() -> None:
    """Run what is asked for, all by default."""
    for name in sys.argv[1:] or MEASUREMENTS:
        print(f"\n{name}\n{'-' * len(name)}")
        MEASUREMENTS[name]()


if __name__ == "__main__":
    main()
