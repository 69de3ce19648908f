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
