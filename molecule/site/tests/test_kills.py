"""What dies comes back by itself, without the playbook."""

import pytest

PROCESSES = {
    "the API": "systemctl kill --signal=KILL atlas-api.service",
    "the worker": "systemctl kill --signal=KILL atlas-worker.service",
    "nginx": "pkill -9 -x nginx",
    "PostgreSQL": "pkill -9 -o -u postgres -x postgres",
}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("command", PROCESSES.values(), ids=PROCESSES)
def test_it_comes_back(host, web, eventually, command):
    host.check_output(command)

    def well():
        return host.run("systemctl is-active atlas-api atlas-worker nginx postgresql").succeeded and serves(
            web
        )

    eventually(well, seconds=120)


def serves(web):
    try:
        return web.get("/ready").status_code == 200
    except OSError:
        return False
