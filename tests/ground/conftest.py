"""Grounds for the tests of playbooks: an empty account, and one that lives through a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ground.ground import Ground, answering_port


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with answering_port() as number:
        yield number


def make_ground(home: Path, port: int) -> Iterator[Ground]:
    pytest.importorskip("oci", reason="make setup-oci installs Oracle's SDK")
    from tests.oci_api.server import FakeOci

    with FakeOci(addresses=["127.0.0.1"] * 4) as cloud:
        yield Ground(cloud, home, port)


@pytest.fixture
def ground(tmp_path: Path, port: int) -> Iterator[Ground]:
    """An empty account."""
    yield from make_ground(tmp_path, port)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Ground]:
    """One account for all tests of a file, which are stations of its life."""
    yield from make_ground(tmp_path_factory.mktemp("life"), port)
