"""The private cluster with real PostgreSQL processes: its life, its crashes, its refusals."""

import asyncio
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from app.db.cluster import (
    AlreadyServed,
    ClusterError,
    CommandFailed,
    FolderUnusable,
    LocalCluster,
    PostgresMissing,
    ServiceLock,
    WrongVersion,
    local,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root hands PostgreSQL to another account")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder any account may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="cr-", ignore_cleanup_errors=True) as name:
        path = Path(name).resolve()
        path.chmod(0o755)
        yield path
        for data_dir in path.glob("**/cluster.lock"):
            LocalCluster(data_dir.parent).discard()


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Return one durable, running cluster for the tests that leave it running."""
    with tempfile.TemporaryDirectory(prefix="cr-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        shared = LocalCluster(Path(name))
        shared.start()
        yield shared
        shared.discard()


def ask(url: str, *statements: str) -> object:
    """Run the statements in one transaction, and return what the last one says."""

    async def run() -> object:
        engine = create_async_engine(url)
        try:
            async with engine.begin() as connection:
                *first, last = statements
                for statement in first:
                    await connection.execute(text(statement))
                return (await connection.execute(text(last))).scalar()
        finally:
            await engine.dispose()

    return asyncio.run(run())


def pid_file(cluster: LocalCluster) -> Path:
    """Return the file in which PostgreSQL notes its process and how it is reached."""
    return cluster.folder / "data" / "postmaster.pid"


def kill_server(cluster: LocalCluster) -> None:
    """Kill the server so that it can clean up nothing."""
    os.kill(int(pid_file(cluster).read_text().splitlines()[0]), signal.SIGKILL)


def in_child(deed: Callable[[], object], *, account: str | None = None) -> str:
    """Do it in a forked process, and return the error it ended with."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if account:
                entry = pwd.getpwnam(account)
                os.setgroups([])
                os.setgid(entry.pw_gid)
                os.setuid(entry.pw_uid)
            deed()
        except Exception as error:
            os.write(writer, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as said:
        return said.read()


# -- life ---------------------------------------------------------------------------------------


def test_life_of_a_cluster(folder: Path) -> None:
    first, second = (LocalCluster(folder / "data", durable=False) for _ in range(2))
    assert not first.is_running()
    assert first.start()
    assert first.is_running()
    assert not second.start(), "the second joins"
    assert second.url == first.url
    first.close()
    assert second.is_running(), "somebody still uses it"
    second.close()
    assert not first.is_running(), "the last one out stops it"
    assert second.start(), "and it starts again"
    second.stop()
    assert not second.is_running()


def test_the_registry_role_owns_its_database_and_no_more(cluster: LocalCluster) -> None:
    assert ask(cluster.url, "SELECT ST_AsText(ST_Point(113.2, 35.2))") == "POINT(113.2 35.2)"
    assert ask(cluster.url, "CREATE TABLE mine (x int)", "DROP TABLE mine", "SELECT 1") == 1
    assert ask(cluster.url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
    assert ask(cluster.url, "SHOW server_encoding") == "UTF8"
    assert ask(cluster.url, "SHOW data_checksums") == "on"
    assert ask(cluster.url, "SHOW fsync") == "on"


def test_databases_are_made_from_templates_and_dropped(cluster: LocalCluster) -> None:
    model = cluster.create_database("model")
    ask(model, "CREATE TABLE made (shape geometry)", "SELECT 1")
    copy = cluster.create_database("copy", template="model")
    assert ask(copy, "SELECT count(*) FROM made") == 0
    for name in ("copy", "model", "model"):
        cluster.drop_database(name)
    with pytest.raises(CommandFailed, match="nosuch"):
        cluster.create_database("copy", template="nosuch")


def test_nobody_else_can_reach_it(cluster: LocalCluster) -> None:
    listens_on = pid_file(cluster).read_text().splitlines()[5]
    assert listens_on == "", "no TCP address"
    assert ask(cluster.url, "SHOW listen_addresses") == ""
    socket = Path(pid_file(cluster).read_text().splitlines()[4], ".s.PGSQL.5432")
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(socket.stat().st_mode) == 0o700


def test_starting_together_makes_one_cluster(folder: Path) -> None:
    clusters = [LocalCluster(folder, durable=False) for _ in range(4)]
    with ThreadPoolExecutor(len(clusters)) as pool:
        started = list(pool.map(LocalCluster.start, clusters))
    assert sorted(started) == [False, False, False, True]
    assert ask(clusters[0].url, "SELECT 1") == 1


def test_two_folders_run_side_by_side(folder: Path, cluster: LocalCluster) -> None:
    with LocalCluster(folder / "other", durable=False) as other:
        ask(other.url, "CREATE TABLE here_only (x int)", "SELECT 1")
        assert ask(cluster.url, "SELECT to_regclass('here_only')") is None
    assert cluster.is_running()


def test_a_path_too_long_for_a_socket_or_odd(folder: Path) -> None:
    data_dir = folder / ("far" * 30) / "with space, comma: 'quote' 城市"
    with LocalCluster(data_dir, durable=False) as cluster:
        assert ask(cluster.url, "SELECT 1") == 1
        socket_dir = Path(pid_file(cluster).read_text().splitlines()[4])
        assert str(socket_dir).startswith("/tmp/coverage-registry-")
    assert not socket_dir.exists(), "nothing stays behind in /tmp"


# -- crashes ------------------------------------------------------------------------------------


def test_a_killed_server_loses_nothing_committed(cluster: LocalCluster) -> None:
    ask(cluster.url, "CREATE TABLE kept AS SELECT 42 AS x", "SELECT 1")
    kill_server(cluster)
    assert cluster.start()
    assert ask(cluster.url, "SELECT x FROM kept") == 42


def test_a_stranger_with_the_pid_of_a_dead_server(cluster: LocalCluster) -> None:
    kill_server(cluster)
    account = cluster.folder.stat().st_uid if os.geteuid() == 0 else None
    stranger = subprocess.Popen(["sleep", "60"], user=account)
    try:
        rest = pid_file(cluster).read_text().partition("\n")[2]
        pid_file(cluster).write_text(f"{stranger.pid}\n{rest}")
        assert not cluster.is_running()
        assert cluster.start()
        assert stranger.poll() is None, "and the stranger was left alone"
    finally:
        stranger.kill()
        stranger.wait()


def test_an_empty_pid_file(cluster: LocalCluster) -> None:
    cluster.stop()
    pid_file(cluster).write_text("")
    assert cluster.start()


def test_the_next_service_owns_the_server_of_a_killed_one(folder: Path) -> None:
    def serve_and_die() -> None:
        with ServiceLock(folder), LocalCluster(folder, durable=False):
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(serve_and_die) == ""
    cluster = LocalCluster(folder)
    assert cluster.is_running(), "an orphan"
    with ServiceLock(folder):
        assert not cluster.start()
        cluster.close()
    assert not cluster.is_running()


def test_what_a_broken_off_creation_left_is_swept_away(folder: Path) -> None:
    half_made = folder / "postgres" / "data.new"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("half")
    with LocalCluster(folder, durable=False) as cluster:
        assert ask(cluster.url, "SELECT 1") == 1
        assert not half_made.exists()


# -- refusals -----------------------------------------------------------------------------------


def test_a_second_service_is_refused_by_name(folder: Path) -> None:
    with ServiceLock(folder):
        with pytest.raises(AlreadyServed, match=rf"pid {os.getpid()}\b"), ServiceLock(folder):
            pass
        assert f"pid {os.getpid()}" in in_child(lambda: ServiceLock(folder).__enter__())
    with ServiceLock(folder):
        pass  # free again


def test_a_folder_that_cannot_be_written(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o555)
    said = in_child(
        lambda: LocalCluster(closed / "data").start(),
        account="nobody" if os.geteuid() == 0 else None,
    )
    assert said.startswith("FolderUnusable: ")
    assert "REGISTRY_DATA_DIR" in said


@needs_root
def test_a_folder_of_another_account(cluster: LocalCluster) -> None:
    said = in_child(lambda: LocalCluster(cluster.data_dir).is_running(), account="nobody")
    assert said.startswith("FolderUnusable: ")
    assert "belongs to account" in said


@needs_root
def test_a_folder_the_account_cannot_enter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_OUTSIDE_FOLDER", folder / "outside")
    data_dir = folder / "closed" / "data"
    data_dir.mkdir(parents=True)
    data_dir.parent.chmod(0o700)
    with LocalCluster(data_dir, durable=False) as cluster:
        assert (data_dir / "postgres").is_symlink()
        assert cluster.folder.parent == folder / "outside"
        ask(cluster.url, "CREATE TABLE old (x int)", "SELECT 1")
    shutil.rmtree(data_dir)
    with LocalCluster(data_dir, durable=False) as cluster:
        assert ask(cluster.url, "SELECT to_regclass('old')") is None, "a new folder starts empty"
        assert len(list((folder / "outside").glob("*-left-*"))) == 1, "the old is kept, not reused"
        cluster.discard()
    assert list(data_dir.glob("postgres")) == []


@needs_root
def test_a_cluster_whose_folder_was_closed_later(folder: Path) -> None:
    data_dir = folder / "data"
    (data_dir / "postgres").mkdir(parents=True)
    data_dir.chmod(0o700)
    with pytest.raises(FolderUnusable, match="cannot enter"):
        LocalCluster(data_dir).start()


def test_a_cluster_of_another_major_version(folder: Path) -> None:
    version = folder / "postgres" / "data" / "PG_VERSION"
    version.parent.mkdir(parents=True)
    version.write_text("9\n")
    with pytest.raises(WrongVersion, match="made by PostgreSQL 9"):
        LocalCluster(folder).start()
    assert version.exists()


def test_no_postgresql(folder: Path) -> None:
    with pytest.raises(PostgresMissing, match=r"make run.*REGISTRY_DATABASE_URL.*docker compose"):
        LocalCluster(folder / "data", bin_dir=folder).start()


def test_no_postgis(folder: Path) -> None:
    fake_postgres(folder, initdb="exit 0", share_dir=folder)
    with pytest.raises(PostgresMissing, match="has no PostGIS"):
        LocalCluster(folder / "data", bin_dir=folder).start()


def test_a_disk_that_fills_up_leaves_nothing_half_made(folder: Path) -> None:
    share = folder / "share"
    (share / "extension").mkdir(parents=True)
    (share / "extension" / "postgis.control").touch()
    full_disk = 'mkdir "${1#--pgdata=}"; echo "No space left on device" >&2; exit 1'
    fake_postgres(folder, initdb=full_disk, share_dir=share)
    cluster = LocalCluster(folder / "data", bin_dir=folder)
    with pytest.raises(ClusterError, match="No space left on device"):
        cluster.start()
    assert list(cluster.folder.iterdir()) == []


def fake_postgres(directory: Path, *, initdb: str, share_dir: Path) -> None:
    """Put programs into the folder that stand in for an installation."""
    scripts = {"initdb": initdb, "pg_config": f"echo '{share_dir}'; echo 'PostgreSQL 15.1'"}
    for name, body in scripts.items():
        script = directory / name
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)
