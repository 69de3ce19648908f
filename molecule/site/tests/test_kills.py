"""What dies comes back by itself, without the playbook."""

import pytest
from library import answers

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

    units = "atlas-api atlas-worker nginx postgresql"
    eventually(lambda: host.run(f"systemctl is-active {units}").succeeded and answers(web), seconds=120)
