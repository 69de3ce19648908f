import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

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


@pytest.fixture(scope="session")
def run_play():
    """Run a play on this machine, its files in this directory; it must succeed."""

    def run(home, play):
        (home / "play.yml").write_text(yaml.safe_dump([play]))
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local"]
        done = subprocess.run(
            [*command, "-e", f"ansible_python_interpreter={sys.executable}", str(home / "play.yml")],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout

    return run
