"""One service that most tests share; a test that ends it leaves the start to the next."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import Service, found_city


def _finish(service: Service) -> None:
    """Leave no process behind, whatever the tests did."""
    if service.running:
        service.stop()
    if service.cluster.data_dir.exists():
        service.cluster.discard()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder any account may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="cr-", ignore_cleanup_errors=True) as name:
        path = Path(name).resolve()
        path.chmod(0o755)
        yield path


@pytest.fixture
def fresh(folder: Path) -> Iterator[Service]:
    """A service on a folder that is not there yet, not started."""
    service = Service(folder / "data")
    yield service
    _finish(service)


@pytest.fixture(scope="session")
def shared() -> Iterator[Service]:
    """A service with a city and an admin key."""
    with tempfile.TemporaryDirectory(prefix="cr-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        service = Service(Path(name).resolve() / "data")
        try:
            service.start()
            found_city(service)
            yield service
        finally:
            _finish(service)


@pytest.fixture
def service(shared: Service) -> Iterator[Service]:
    """The shared service with two workers; what it wrote must not hold a stack trace."""
    if shared.running and not shared.workers():
        shared.stop()
    if not shared.running:
        shared.start(workers=2)
    yield shared
    assert "Traceback" not in shared.said


@pytest.fixture
def stopped(shared: Service) -> Service:
    """The shared service, not running."""
    if shared.running:
        shared.stop()
    return shared
