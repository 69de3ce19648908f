"""Originals: kept once, whole, and checked when they are read."""

import io
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas import originals
from atlas.originals import OriginalCorrupt, OriginalMissing


@given(raw=st.binary(max_size=10_000))
def test_what_was_put_comes_back(tmp_path_factory, raw):
    directory = tmp_path_factory.mktemp("data")
    sha256 = originals.put(directory, raw)
    assert originals.get(directory, sha256) == raw


def test_the_same_bytes_are_kept_once(tmp_path):
    first = originals.put(tmp_path, b"page" * 1000)
    (path,) = tmp_path.rglob("*.zst")
    before = path.stat().st_ino
    os.utime(path, (1, 1))
    assert originals.put(tmp_path, b"page" * 1000) == first
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]
    assert path.stat().st_ino == before
    assert path.stat().st_mtime > 1  # young again, so that cleaning leaves it alone
    assert path.stat().st_size < 200
    assert path.relative_to(tmp_path / "originals").parts[:2] == (first[:2], first[2:4])


def test_a_large_file_that_was_kept_can_be_read_whole(tmp_path):
    raw = os.urandom(100_000)
    assert originals.get(tmp_path, originals.put_file(tmp_path, io.BytesIO(raw))) == raw


def test_one_that_is_not_there(tmp_path):
    with pytest.raises(OriginalMissing):
        originals.get(tmp_path, "0" * 64)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_a_name_that_is_no_hash_reaches_no_file(tmp_path, name):
    with pytest.raises(OriginalMissing):
        originals.get(tmp_path, name)


def test_damage_is_noticed(tmp_path):
    sha256 = originals.put(tmp_path, b"something worth keeping " * 100)
    (path,) = tmp_path.rglob("*.zst")
    whole = path.read_bytes()
    for damaged in (b"", b"no zstandard at all", whole[:-5], whole[:30] + b"\x00" + whole[31:]):
        path.write_bytes(damaged)
        with pytest.raises(OriginalCorrupt):
            originals.get(tmp_path, sha256)


def test_other_bytes_under_the_name_are_noticed(tmp_path):
    sha256, other = originals.put(tmp_path, b"one"), originals.put(tmp_path, b"two")
    paths = {path.stem: path for path in tmp_path.rglob("*.zst")}
    paths[sha256].write_bytes(paths[other].read_bytes())
    with pytest.raises(OriginalCorrupt, match="other bytes"):
        originals.get(tmp_path, sha256)


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full_disk(descriptor):
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(originals.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        originals.put(tmp_path, b"page")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
