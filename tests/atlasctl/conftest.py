import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from standins import Machine, Site

FAKES = Path(__file__).parent / "fakes"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a machine on which no unit exists yet."""
    made = Machine(tmp_path)
    monkeypatch.setenv("ATLASCTL_ROOT", str(tmp_path))
    monkeypatch.setenv("ATLASCTL_FAKE", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'programs'}:{FAKES}:{os.environ['PATH']}")
    return made


@pytest.fixture
def site() -> Iterator[Site]:
    """Return a running web server on a free port."""
    made = Site()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()
