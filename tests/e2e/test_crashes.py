"""What is killed, hung or cut off: nothing acknowledged is lost, nothing is written by halves."""

import json
import random
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

import httpx
import pytest

from app.db.cluster import LocalCluster
from tests.e2e.running import (
    CITY,
    READY_WITHIN_S,
    Service,
    camera,
    cameras,
    processes,
    send,
    until,
)

EVERYWHERE = (
    ("GET", "/v1/cameras"),
    ("GET", "/v1/cameras/c1"),
    ("GET", f"/v1/jurisdictions/{CITY}/coverage"),
    ("GET", f"/v1/jurisdictions/{CITY}/coverage/gaps"),
    ("GET", f"/v1/jurisdictions/{CITY}/rings"),
    ("GET", "/v1/keys"),
    ("PUT", "/v1/cameras/c1"),
    ("POST", "/v1/cameras:batch"),
    ("POST", "/v1/states"),
)
BODIES: dict[tuple[str, str], object] = {
    ("PUT", "/v1/cameras/c1"): camera(1),
    ("POST", "/v1/cameras:batch"): cameras(10, "away"),
    ("POST", "/v1/states"): [],
}
STILL_WRITING = "SELECT count(*) FROM pg_locks WHERE relation = 'camera'::regclass"


def answers(service: Service, times: int = 1) -> Iterator[httpx.Response]:
    """Ask every route, each time on connections of their own, so that every worker is asked."""
    for _ in range(times):
        with service.client() as client:
            for method, path in EVERYWHERE:
                yield client.request(method, path, json=BODIES.get((method, path)))


def probe(service: Service, path: str) -> httpx.Response:
    """Ask as an impatient orchestrator does."""
    return service.get(path, timeout_s=READY_WITHIN_S)


# -- the service ----------------------------------------------------------------------------------


def test_what_a_killed_service_acknowledged_is_there_after_the_next_start(service: Service) -> None:
    acknowledged: list[str] = []

    def write() -> None:
        with service.client() as client:
            for number in range(100_000):
                code = f"kept{number}"
                if client.put(f"/v1/cameras/{code}", json=camera(number, code=code)).is_success:
                    acknowledged.append(code)

    workers = service.workers()
    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write)]
        until(lambda: len(acknowledged) >= 20, "some writes")
        service.kill()
        until(lambda: processes().keys().isdisjoint(workers), "the orphaned workers to end")
    assert isinstance(writers[0].exception(), httpx.TransportError)

    service.start(workers=2)
    there = service.ask("SELECT array_agg(code) FROM camera WHERE code LIKE 'kept%'")
    assert set(acknowledged) <= set(there)
    assert service.get(f"/v1/cameras/{acknowledged[-1]}").status_code == 200


def test_a_batch_cut_off_by_a_kill_is_there_entirely_or_not_at_all(service: Service) -> None:
    def post(prefix: str, count: int = 10_000) -> httpx.Response:
        with service.client() as client:
            return client.post("/v1/cameras:batch", json=cameras(count, prefix))

    began = time.monotonic()
    assert post("tenth", 1_000).status_code == 200
    took = 10 * (time.monotonic() - began)
    moments = random.Random()  # each run tries others
    for third in range(3):
        prefix, wait_s = f"cut{third}-", took * moments.uniform(third, third + 1) / 3
        with ThreadPoolExecutor(1) as pool:
            answer: Future[httpx.Response] = pool.submit(post, prefix)
            time.sleep(wait_s)
            for pid in [service.process.pid, *service.workers()]:
                send(pid, signal.SIGKILL)
        service.kill()
        service.start(workers=1 if third < 2 else 2)
        until(lambda: service.ask(STILL_WRITING) == 0, "what was left running to end")
        for table in ("camera", "change"):
            there = service.ask(f"SELECT count(*) FROM {table} WHERE code LIKE '{prefix}%'")
            told = answer.exception() is None and answer.result().is_success
            assert there in ((10_000,) if told else (0, 10_000)), f"{table}, after {wait_s:.3f} s"


def test_an_upload_that_breaks_off_writes_nothing(service: Service) -> None:
    body = json.dumps(cameras(1_000, "broken")).encode()
    head = (
        f"POST /v1/cameras:batch HTTP/1.1\r\nHost: registry\r\nAuthorization: Bearer {service.key}"
        f"\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    for sent in (0, len(body) // 2, len(body) - 1):
        with socket.create_connection(("127.0.0.1", service.port)) as caller:
            caller.sendall(head + body[:sent])
    assert service.get("/v1/cameras?q=broken").json()["items"] == []
    assert service.ready()
    assert service.ask("SELECT count(*) FROM camera WHERE code LIKE 'broken%'") == 0
    assert "unexpected error" not in service.said


# -- the database ---------------------------------------------------------------------------------


@pytest.fixture
def warm(service: Service) -> Service:
    """The service with connections to the database in every pool, and the record c1."""
    with service.client() as client:
        # The test before may have killed the database: a worker is told to come back until it is there.
        until(lambda: client.put("/v1/cameras/c1", json=camera(1)).is_success, "a first write")
    with ThreadPoolExecutor(8) as pool:
        for answer in pool.map(service.get, ["/v1/cameras?limit=1000"] * 16 + ["/v1/keys"] * 16):
            assert answer.status_code == 200
    return service


def test_requests_under_way_when_the_database_dies_are_answered_or_unavailable(
    warm: Service,
) -> None:
    service, stop = warm, Event()

    def ask() -> set[int]:
        seen: set[int] = set()
        while not stop.is_set():
            seen.update(answer.status_code for answer in answers(service))
        return seen

    with ThreadPoolExecutor(6) as pool:
        callers = [pool.submit(ask) for _ in range(6)]
        try:
            for _ in range(3):
                time.sleep(0.3)
                session = until(service.sessions, "a session of the callers")[0]
                send(session, signal.SIGKILL)  # PostgreSQL ends them all and recovers
                until(service.ready, "the database to recover")
        finally:
            stop.set()
        statuses = set().union(*(caller.result() for caller in callers))
    assert statuses <= {200, 201, 503}
    assert 503 in statuses


def test_a_killed_database_shows_and_heals(warm: Service) -> None:
    service = warm
    killed = service.postgres()
    send(service.postmaster, signal.SIGKILL)
    for _ in range(4):
        unready = probe(service, "/readyz")
        assert unready.status_code == 503
        assert unready.json()["checks"]["database"]["ok"] is False
        assert int(unready.headers["retry-after"]) > 0
        assert probe(service, "/livez").status_code == 200
    for answer in answers(service, times=4):
        assert answer.status_code == 503, answer.request.url
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["code"] == "unavailable"

    until(lambda: processes().keys().isdisjoint(killed), "the killed database to be gone")
    beside = LocalCluster(service.folder)
    assert beside.start()
    beside.close()
    until(service.ready, "the service to be ready")
    for answer in answers(service, times=4):
        assert answer.is_success, answer.text


def test_a_hung_database_shows_and_heals(warm: Service) -> None:
    service = warm
    with service.stopped_postgres(), ThreadPoolExecutor(24) as pool:
        for answer in pool.map(lambda _: probe(service, "/readyz"), range(24)):
            assert answer.status_code == 503
            assert answer.json()["checks"]["database"]["ok"] is False
        assert probe(service, "/readyz").status_code == 503, "also when every connection hangs"
        assert probe(service, "/livez").status_code == 200
    until(service.ready, "the service to be ready")
    for answer in answers(service, times=4):
        assert answer.is_success, answer.text
