"""What `serve` refuses to start with: one line that says what to do, and nothing left running."""

import socket
from pathlib import Path

import pytest

from app.db.cluster import LocalCluster
from tests.e2e.running import Service, command, free_port, processes


def refused(folder: Path, **settings: object) -> str:
    """Return the one line with which `serve` gives up."""
    done = command("serve", **{"data_dir": folder / "data", "port": free_port(), **settings})
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("coverage-registry: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert not any(str(folder) in words for _, words in processes().values())
    return done.stderr


def test_a_setting_out_of_range(folder: Path) -> None:
    said = refused(folder, port=99999, workers="many")
    assert "REGISTRY_PORT" in said
    assert "REGISTRY_WORKERS" in said
    assert not (folder / "data").exists()


def test_a_port_in_use(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        said = refused(folder, port=port)
    assert f"port {port}" in said
    assert "in use" in said
    assert not (folder / "data").exists()


def test_an_address_of_another_machine(folder: Path) -> None:
    assert "192.0.2.1" in refused(folder, host="192.0.2.1")


def test_a_folder_that_cannot_be_made(folder: Path) -> None:
    (folder / "file").touch()
    assert "REGISTRY_DATA_DIR" in refused(folder, data_dir=folder / "file" / "data")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://registry:hidden@127.0.0.1:{port}/registry", "Connect call failed"),
        ("mysql://registry:hidden@127.0.0.1/registry", "postgresql://"),
    ],
)
def test_a_database_that_is_not_there(folder: Path, url: str, reason: str) -> None:
    said = refused(folder, database_url=url.format(port=free_port()))
    assert "REGISTRY_DATABASE_URL" in said
    assert reason in said
    assert "hidden" not in said


def test_a_database_that_does_not_answer(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        said = refused(folder, database_url=f"postgresql://r@127.0.0.1:{port}/registry")
    assert f"127.0.0.1:{port}" in said


def test_a_database_the_server_does_not_know(service: Service, folder: Path) -> None:
    assert "nosuch" in refused(folder, database_url=service.cluster.build_url("nosuch"))


def test_a_folder_of_a_newer_schema(folder: Path) -> None:
    newer = Service(folder / "data")
    with LocalCluster(newer.folder, durable=False):
        newer.ask("CREATE TABLE alembic_version AS SELECT '9999' AS version_num")
    said = refused(folder)
    assert "9999" in said
    assert "newer" in said
    assert not newer.cluster.is_running()
