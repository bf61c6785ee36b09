"""Two workers on one port answer as one."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tests.e2e.running import CITY, Service, camera, send

COVERAGE = f"/v1/jurisdictions/{CITY}/coverage"


@contextmanager
def held(worker: int) -> Iterator[None]:
    """Keep one worker from taking connections while the block runs."""
    send(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        send(worker, signal.SIGCONT)


def coverage(service: Service) -> dict[str, Any]:
    """Return the summary, asked for on a new connection."""
    found: dict[str, Any] = service.get(COVERAGE).raise_for_status().json()
    return found


def put(service: Service, code: str) -> None:
    """Register one more camera, on a new connection."""
    with service.client() as client:
        client.put(f"/v1/cameras/{code}", json=camera(1, code=code)).raise_for_status()


def test_a_write_through_one_worker_shows_in_the_next_answer_of_the_other(service: Service) -> None:
    one, other = service.workers()
    for number in range(3):
        for writer, reader in ((one, other), (other, one)):
            with held(writer):
                before = coverage(service)
                assert coverage(service) == before, "kept, not computed again"
            with held(reader):
                put(service, f"shown{number}-{writer}")
            with held(writer):
                after = coverage(service)
            assert after["revision"] > before["revision"]
            assert after["devices"]["total"] == before["devices"]["total"] + 1


def test_whoever_answers_knows_every_write_that_was_acknowledged(service: Service) -> None:
    total = coverage(service)["devices"]["total"]
    for number in range(10):
        put(service, f"known{number}")
        assert coverage(service)["devices"]["total"] == total + number + 1


def test_revisions_never_go_back_for_one_client_while_others_write(service: Service) -> None:
    def write(writer: int) -> None:
        for number in range(15):
            put(service, f"moving{writer}-{number}")

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, writer) for writer in range(2)]
        seen = [coverage(service)["revision"]]
        while not all(writer.done() for writer in writers):
            seen.append(coverage(service)["revision"])
        for writer in writers:
            writer.result()
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]
