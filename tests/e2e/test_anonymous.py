"""Who needs no key: on the demo's own machine everybody may analyse, elsewhere nobody."""

from tests.e2e.running import CITY, Service, camera, command, free_port

COVERAGE = f"/v1/jurisdictions/{CITY}/coverage"


def test_the_demo_on_loopback_lets_anybody_analyse_and_nobody_write(stopped: Service) -> None:
    service = stopped
    service.start("--demo")
    assert service.said.splitlines()[1].endswith(COVERAGE)
    with service.client(key="") as anybody:
        assert anybody.get(COVERAGE).status_code == 200
        assert anybody.get("/v1/keys").status_code == 401
        assert anybody.put("/v1/cameras/c9", json=camera(9)).status_code == 401


def test_the_demo_on_a_public_address_lets_nobody_in_without_a_key(stopped: Service) -> None:
    service = stopped
    service.start("--demo", host="0.0.0.0")
    with service.client(key="") as anybody:
        assert anybody.get(COVERAGE).status_code == 401
        assert anybody.get("/livez").status_code == 200
    assert service.get(COVERAGE).status_code == 200, "with the key"


def test_anonymous_rights_on_a_public_address_are_refused(stopped: Service) -> None:
    refused = command("serve", data_dir=stopped.folder, host="0.0.0.0", port=free_port(), anonymous_role="reader")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "reader" in refused.stderr
    assert "REGISTRY_ANONYMOUS_ROLE" in refused.stderr
    assert not stopped.cluster.is_running()
