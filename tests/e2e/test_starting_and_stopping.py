"""From an empty folder to an orderly end: what starts, what is said, what is finished first."""

import asyncio
import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from app.access.keys import CACHE_S
from app.server import GRACE_S
from tests.e2e.running import Service, camera, command, free_port, processes, until


def test_an_empty_folder_becomes_a_service_that_says_where_to_look(service: Service) -> None:
    lines = service.first_words.splitlines()[:5]
    assert lines[0].endswith(f" on {service.base}")
    assert [re.split("  +", line.strip())[0] for line in lines[1:]] == [
        "Coverage", "API", "Health", "Admin key",
    ]  # fmt: skip
    assert service.get("/readyz").json()["checks"]["migrations"]["ok"] is True
    assert service.get("/v1/keys").status_code == 200
    assert service.get("/docs").status_code == 200


def test_a_second_service_on_a_folder_is_refused(service: Service) -> None:
    second = command("serve", data_dir=service.folder, port=free_port())
    assert second.returncode == 1
    assert second.stdout == ""
    assert second.stderr.startswith("coverage-registry: a service (pid ")
    assert str(service.process.pid) in second.stderr
    assert second.stderr.count("\n") == 1
    assert service.ready(), "the first goes on"


def test_keys_made_and_revoked_beside_a_running_service_count_there(service: Service) -> None:
    here = {"data_dir": service.folder}
    made = command("keys", "create", "--role", "editor", "--label", "loader", **here)
    key = made.stdout.strip()
    key_id = key.split("_")[1]
    with service.client(key) as client:
        assert client.put("/v1/cameras/keyed", json=camera(2, code="keyed")).is_success
        assert client.get("/v1/keys").status_code == 403
    assert command("keys", "revoke", key_id, **here).returncode == 0
    refused_from = time.monotonic() + CACHE_S
    again = command("keys", "revoke", key_id, **here)
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert key_id in command("keys", "list", **here).stdout
    time.sleep(max(0, refused_from - time.monotonic()))
    for _ in range(10):  # whichever worker answers
        refused = service.get_as(key, "/v1/cameras")
        assert refused.status_code == 401
        assert refused.json()["code"] == "unauthenticated"
    assert service.ready(), "commands that leave do not stop the database"


def test_healthcheck_tells_by_its_exit_code(service: Service) -> None:
    assert command("healthcheck", host="0.0.0.0", port=service.port).returncode == 0
    nobody = command("healthcheck", port=free_port())
    assert (nobody.returncode, nobody.stderr.count("\n")) == (1, 1)
    with service.stopped_postgres():
        ill = command("healthcheck", "--url", service.base)
        assert ill.returncode == 1
        assert "database" in ill.stderr


@pytest.mark.parametrize(("workers", "number"), [(1, signal.SIGTERM), (1, signal.SIGINT), (2, signal.SIGTERM)])
def test_a_stop_lets_requests_finish_and_ends_everything(
    stopped: Service, workers: int, number: signal.Signals
) -> None:
    service = stopped
    service.start(workers=workers)
    started = {*service.postgres(), *service.workers()}

    def put() -> httpx.Response:
        with service.client() as client:
            return client.put("/v1/cameras/late", json=camera(1, code="late", notes=str(number)))

    async def stop_meanwhile() -> httpx.Response:
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        with ThreadPoolExecutor(1) as pool:
            async with service.connected() as holder:
                await holder.execute("BEGIN; LOCK TABLE camera IN EXCLUSIVE MODE")
                answer = pool.submit(put)
                while await holder.fetchval(waiting) == 0:  # noqa: ASYNC110 - not ours to signal
                    await asyncio.sleep(0.02)
                service.process.send_signal(number)
                await asyncio.to_thread(until, lambda: not listens(service), "its end to begin")
                assert service.running, "it waits for the request"
                assert not answer.done()
            return await asyncio.wrap_future(answer)

    answer = asyncio.run(stop_meanwhile())
    assert answer.status_code in (200, 201), answer.text
    assert service.ended() == 0
    assert started.isdisjoint(processes()), "no process is left"
    assert not service.cluster.is_running()
    assert "Traceback" not in service.said


def listens(service: Service) -> bool:
    """Tell whether somebody takes new connections on its port."""
    try:
        service.get("/livez")
    except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError):
        return False
    return True


def test_a_stop_while_it_starts_leaves_nothing_behind(fresh: Service) -> None:
    fresh.launch()
    about_to_start = fresh.folder / "postgres" / "data" / "registry.conf"
    until(about_to_start.exists, "PostgreSQL to be started")
    assert fresh.stop() == 0, fresh.said
    assert not any(str(fresh.folder) in words for _, words in processes().values())
    assert "Traceback" not in fresh.said


def test_a_stream_of_changes_ends_in_order_when_the_service_stops(service: Service) -> None:
    """Nobody waits for the grace period of answers that are under way."""
    with (
        service.client() as client,
        client.stream("GET", "/v1/changes/stream") as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines).startswith("retry: ")
        stopping = time.monotonic()
        service.process.terminate()
        assert ": the service is stopping" in list(lines)
    assert service.ended() == 0
    assert time.monotonic() - stopping < GRACE_S


def test_an_export_that_cannot_be_written_says_why_in_one_line(service: Service, folder: Path) -> None:
    here = {"data_dir": service.folder}
    nowhere = command("export", "cameras", "-o", str(folder / "none" / "x.csv"), **here)
    foreign = command("export", "cameras", "-o", str(folder / "x.csv"), "--lang", "fr", **here)
    unread = command("export", "cameras", "-o", str(folder / "x.docx"), **here)
    for done, told in ((nowhere, "does not exist"), (foreign, "Unknown language"), (unread, "Unknown format")):
        assert (done.returncode, done.stdout) == (1, "")
        assert told in done.stderr
        assert done.stderr.count("\n") == 1
    assert list(folder.iterdir()) == []


def test_an_export_into_a_pipe_leaves_the_pipe(service: Service, folder: Path) -> None:
    pipe = folder / "cameras.csv"
    os.mkfifo(pipe)
    read = folder / "read.csv"  # not a pipe again: nobody would empty it while the export runs
    with read.open("wb") as into, subprocess.Popen(["cat", pipe], stdout=into) as reader:
        done = command("export", "cameras", "-o", str(pipe), data_dir=service.folder)
        reader.wait(timeout=30)
    assert done.returncode == 0, done.stderr
    assert read.read_bytes().startswith(b'"code"')
    assert pipe.is_fifo()
