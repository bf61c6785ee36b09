"""Where this machine keeps a PostgreSQL that has PostGIS.

Looks on PATH, then where Debian, Red Hat and Homebrew packages put it, newest first. Knows nothing
of settings: a folder to prefer is an argument.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from app.db.cluster.errors import PostgresMissing, WrongVersion

_BIN_DIRS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)


@dataclass(frozen=True)
class Binaries:
    """The programs of one PostgreSQL installation that has PostGIS."""

    directory: Path
    major: str

    def tool(self, name: str) -> str:
        """Return the path of one program, e.g. ``psql``."""
        return str(self.directory / name)


def find_binaries(
    bin_dir: Path | None = None, *, made_by: str | None = None, folder: Path = Path()
) -> Binaries:
    """Find a PostgreSQL with PostGIS, of the major version that made ``folder`` if one did.

    Raises
    ------
    PostgresMissing
        Nothing on this machine will do.
    WrongVersion
        Only other major versions than ``made_by`` are there.
    """
    candidates = [bin_dir] if bin_dir else list(dict.fromkeys(_bin_dirs()))
    usable = [binaries for candidate in candidates if (binaries := _with_postgis(candidate))]
    for binaries in usable:
        if made_by in (None, binaries.major):
            return binaries
    if usable and made_by:
        raise WrongVersion(folder, made_by, {binaries.major for binaries in usable})
    places = ", ".join(str(path) for path in candidates if (path / "initdb").exists())
    raise PostgresMissing(
        f"the PostgreSQL in {places} has no PostGIS"
        if places
        else f"no PostgreSQL found{f' in {bin_dir}' if bin_dir else ''}"
    )


def _bin_dirs() -> Iterator[Path]:
    """Yield where PostgreSQL may be: what PATH names, then what packages made, newest first."""
    if pg_config := shutil.which("pg_config"):
        yield from map(Path, _ask(pg_config, "--bindir"))
    for pattern in _BIN_DIRS:
        found = Path("/").glob(pattern.removeprefix("/"))
        yield from sorted(found, key=_numbers, reverse=True)


def _numbers(path: Path) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", str(path))]


def _with_postgis(directory: Path) -> Binaries | None:
    """Return the programs in ``directory`` if a server with PostGIS is among them."""
    if not (directory / "initdb").exists():
        return None
    answer = _ask(str(directory / "pg_config"), "--sharedir", "--version")
    if len(answer) != 2 or not Path(answer[0], "extension", "postgis.control").exists():
        return None
    version = re.search(r"\d+", answer[1])
    return Binaries(directory, version.group()) if version else None


@cache
def _ask(*command: str) -> list[str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return []
    return done.stdout.splitlines()
