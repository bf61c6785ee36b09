"""The secret that keys the hashes of keys: configured, or made once and kept."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from app.access.keys import load_service_secret


def test_a_configured_secret_is_used_and_nothing_is_written(tmp_path: Path) -> None:
    assert load_service_secret("given", tmp_path / "data") == b"given"
    assert not (tmp_path / "data").exists()


def test_a_secret_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    made = load_service_secret(None, tmp_path / "data")
    assert len(made) >= 32
    assert load_service_secret(None, tmp_path / "data") == made
    (kept,) = (tmp_path / "data").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_workers_that_start_together_share_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: load_service_secret(None, tmp_path), range(16)))
    assert len(made) == 1
