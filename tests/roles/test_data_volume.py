"""What atlas-data-volume takes for an empty disk, and what for a copy; files stand for disks."""

import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "roles/data_volume/tree/usr/local/sbin/atlas-data-volume"
SETTINGS = {"device": "/dev/oracleoci/oraclevdb", "label": "atlas-data"}


@pytest.fixture(scope="module")
def volume():
    loader = importlib.machinery.SourceFileLoader("atlas_data_volume", str(SCRIPT))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def disk(tmp_path, volume, monkeypatch):
    if not Path("/usr/sbin/blkid").exists():
        pytest.skip("there is no blkid here")
    monkeypatch.setattr(volume, "STATE", tmp_path / "state")
    file = tmp_path / "disk"
    with file.open("wb") as empty:
        empty.truncate(32 * 1024 * 1024)
    return file


def tool(*command):
    if not shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin:/sbin"):
        pytest.skip(f"there is no {command[0]} here")
    environment = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}
    subprocess.run(command, check=True, capture_output=True, env=environment, stdin=subprocess.DEVNULL)


def write(disk, at, data):
    with disk.open("r+b") as file:
        file.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
        file.write(data)


def test_a_disk_of_zeros_is_empty(volume, disk):
    assert volume.make_filesystem(SETTINGS, disk, check=True) == ["make ext4 on /dev/oracleoci/oraclevdb"]


def test_ours_is_left_as_it_is(volume, disk):
    tool("mkfs.ext4", "-q", "-L", "atlas-data", str(disk))
    assert volume.make_filesystem(SETTINGS, disk, check=False) == []


FULL = {
    "ext4 of somebody": lambda disk: tool("mkfs.ext4", "-q", "-L", "photos", str(disk)),
    "swap": lambda disk: tool("mkswap", str(disk)),
    "encrypted": lambda disk: write(disk, 0, b"LUKS\xba\xbe\x00\x01".ljust(4096, b"\1")),
    "partitions": lambda disk: write(disk, 510, b"\x55\xaa"),
    "something at its start": lambda disk: write(disk, 4096, b"data without a signature"),
    "something at its end": lambda disk: write(disk, -4096, b"such as a backup of partitions"),
}


@pytest.mark.parametrize("kind", FULL)
def test_whatever_holds_something_is_refused_and_not_touched(volume, disk, kind):
    FULL[kind](disk)
    before = disk.read_bytes()
    for check in (True, False):
        with pytest.raises(volume.Refused, match="It was left as it is") as refused:
            volume.make_filesystem(SETTINGS, disk, check=check)
    assert "/dev/oracleoci/oraclevdb" in str(refused.value)
    assert disk.read_bytes() == before


def test_one_of_another_name_can_be_taken_over_with_its_data(volume, disk):
    tool("mkfs.ext4", "-q", "-L", "photos", str(disk))
    with pytest.raises(volume.Refused, match=r"e2label .*disk atlas-data"):
        volume.make_filesystem(SETTINGS, disk, check=False)


@pytest.fixture
def trees(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    (one / "a").mkdir(parents=True)
    (one / "a" / "file").write_bytes(b"\0" * 5000)
    (one / "link").symlink_to("a/file")
    subprocess.run(["cp", "--archive", one, other], check=True)
    return one, other


def test_a_copy_is_like_the_original(volume, trees):
    assert volume.compare(*trees) == []


def flip(path):
    """Change a byte and nothing else, as a bad disk does."""
    seen = path.stat()
    with path.open("r+b") as file:
        file.seek(2500)
        file.write(b"\1")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


@pytest.mark.parametrize(
    "harm",
    [
        lambda root: flip(root / "a/file"),
        lambda root: (root / "a/file").unlink(),
        lambda root: (root / "a/more").touch(),
        lambda root: (root / "a").chmod(0o700),
        lambda root: os.utime(root / "a/file", (1, 1)),
        lambda root: ((root / "link").unlink(), (root / "link").symlink_to("a")),
    ],
)
def test_any_difference_is_found(volume, trees, harm):
    harm(trees[1])
    assert len(volume.compare(*trees)) >= 1


def test_a_directory_has_its_unit_and_the_start_does_not_wait_for_it(volume, monkeypatch):
    monkeypatch.setattr(
        volume, "unit_name", lambda path, suffix="mount": f"{path.strip('/').replace('/', '-')}.{suffix}"
    )
    settings = SETTINGS | {"mount": "/srv/atlas", "wait_seconds": 60}
    (text,) = volume.directory_unit(settings, Path("/var/lib/atlas")).values()
    assert "What=/srv/atlas/var/lib/atlas\nWhere=/var/lib/atlas\n" in text
    assert "RequiresMountsFor=/srv/atlas\n" in text
    found = volume.volume_units(settings, "1234-ABCD")
    for unit in (text, found["srv-atlas.mount"]):
        assert "DefaultDependencies=no" in unit
        assert "local-fs.target" not in unit
    (timeout,) = (text for name, text in found.items() if name.endswith(".device.d/atlas.conf"))
    assert "JobTimeoutSec=60" in timeout
