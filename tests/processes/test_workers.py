"""Two workers on one port answer as one."""

import signal

from processes.running import CITY, Service, camera, send, until


def test_a_write_through_one_worker_shows_in_the_next_answer_of_the_other(service: Service) -> None:
    one, other = service.workers()
    for number in range(3):
        for writer, reader in ((one, other), (other, one)):
            before = coverage(service)
            code = f"shown{number}{writer}"
            alone(service, writer, reader)
            with service.client() as client:
                client.put(f"/v1/cameras/{code}", json=camera(1, code=code)).raise_for_status()
            alone(service, reader, writer)
            after = coverage(service)
            send(writer, signal.SIGCONT)
            assert after["revision"] > before["revision"]
            assert after["devices"]["total"] == before["devices"]["total"] + 1


def alone(service: Service, answering: int, held: int) -> None:
    """Let only one of the workers take connections."""
    send(answering, signal.SIGCONT)
    send(held, signal.SIGSTOP)


def coverage(service: Service) -> dict[str, object]: ...


def test_revisions_do_not_go_back_between_the_requests_of_one_client(service: Service) -> None: ...
