import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from oci_operator import Operator
    from tests.oci_api.server import FakeOci

# Modules import what they share under the name Ansible gives it on the machine.
OURS = ("file_tree", "trial", "oci_account", "oci_models", "oci_kinds", "oci_free", "oci_state", "oci_sweep")
for name in OURS:
    sys.modules[f"ansible.module_utils.{name}"] = importlib.import_module(name)

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def cloud() -> Iterator["FakeOci"]:
    pytest.importorskip("oci", reason="make setup-oci installs Oracle's SDK")
    from tests.oci_api.server import FakeOci

    with FakeOci() as fake:
        yield fake


@pytest.fixture
def operator(cloud: "FakeOci", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Operator":
    from oci_operator import Operator

    # However long a test takes, its runs are one straight after the other.
    monkeypatch.setattr(sys.modules["ansible.module_utils.oci_state"], "window", lambda: 1)

    return Operator(cloud, cloud.account(tmp_path))


@pytest.fixture
def compartment(cloud: "FakeOci") -> str:
    from tests.oci_api import seeds

    return seeds.compartment(cloud).id
