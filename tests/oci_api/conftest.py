"""A fake cloud, the operator's clients of it, and a compartment in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from tests.oci_api import signing
from tests.oci_api.clients import Clients
from tests.oci_api.server import FakeOci


@pytest.fixture
def cloud() -> Iterator[FakeOci]:
    with FakeOci() as fake:
        yield fake


@pytest.fixture(scope="session")
def operators_key() -> RSAPrivateKey:
    """Made once: it takes longer than most tests."""
    return signing.new_key()


@pytest.fixture
def oci(cloud: FakeOci, tmp_path: Path, operators_key: RSAPrivateKey) -> "Clients":
    from tests.oci_api.clients import Clients  # without the SDK its tests are skipped, not this file

    return Clients(cloud, cloud.account(tmp_path, key=operators_key))


@pytest.fixture
def compartment(cloud: FakeOci) -> str:
    body = {
        "compartmentId": cloud.tenancy,
        "name": "atlas",
        "description": "Atlas",
        "lifecycleState": "ACTIVE",
    }
    return cloud.store.add("compartment", body).id
