import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if (path / "tasks").is_dir())


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(params=ROLES)
def role(request):
    """Each role's directory in turn."""
    return ROOT / "roles" / request.param


@pytest.fixture(scope="session")
def promtool():
    """Run promtool with these arguments; it must be content."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian packages it in prometheus)")

    def run(*arguments):
        done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return run
