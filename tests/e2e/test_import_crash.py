"""An import in the middle of which everything is killed: nothing happened, and it says so."""

import signal

from tests.e2e.running import CITY, Service, send, until
from tests.imports.files import cameras


def _import(service: Service, rows: int, prefix: bytes) -> str:
    content = cameras(rows).replace(b"cam-", prefix)
    with service.client() as client:
        answer = client.post(f"/v1/imports?kind=camera&jurisdiction={CITY}&name=big.csv", content=content)
    answer.raise_for_status()
    return str(answer.json()["links"]["self"])


def test_killed_in_the_middle_of_an_import(service: Service) -> None:
    job = _import(service, 45_000, b"killed-")
    until(lambda: service.get(job).json()["counts"]["rows"] > 0, "the first rows")
    assert service.get(job).json()["finished_at"] is None
    for pid in service.workers():
        send(pid, signal.SIGKILL)
    service.kill()
    service.start(workers=2)
    found = service.get(job).json()
    assert (found["state"], found["problem"]["code"]) == ("failed", "interrupted")
    assert service.get("/v1/cameras/killed-0").status_code == 404
    assert service.ask("SELECT count(*) FROM change WHERE code LIKE 'killed-%'") == 0
    again = _import(service, 10, b"killed-")
    until(lambda: service.get(again).json()["state"] == "done", "the import to end")
    assert service.get("/v1/cameras/killed-0").status_code == 200


def test_any_worker_answers_for_an_import(service: Service) -> None:
    job = _import(service, 1000, b"many-")
    answers = [service.get(job).json()["state"] for _ in range(20)]
    assert set(answers) <= {"received", "applying", "done"}
    until(lambda: service.get(job).json()["state"] == "done", "the import to end")
    assert {service.get(job).json()["counts"]["created"] for _ in range(10)} == {1000}
