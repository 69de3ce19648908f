"""What was cut in pieces is put together as it was, and a change makes one piece another."""

import os

import pytest

from atlasctl.backup import pieces


@pytest.mark.parametrize("size", [1, pieces.BYTES - 1, pieces.BYTES, pieces.BYTES * 150 + 7])
def test_a_file_is_whole_again(tmp_path, size):
    content = os.urandom(size)
    (tmp_path / "database.dump").write_bytes(content)
    (tmp_path / "facts.json").write_text("{}")
    pieces.split(tmp_path / "database.dump")
    assert {path.name for path in tmp_path.iterdir()} == {"database.dump.pieces", "facts.json"}
    pieces.join(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"database.dump", "facts.json"}
    assert (tmp_path / "database.dump").read_bytes() == content


def test_a_row_that_changed_makes_one_piece_another(tmp_path):
    content = bytearray(os.urandom(pieces.BYTES * 10))
    kept = []
    for name in ("before", "after"):
        (tmp_path / name).write_bytes(content)
        pieces.split(tmp_path / name)
        kept.append([path.read_bytes() for path in sorted((tmp_path / f"{name}.pieces").glob("*/*"))])
        content[pieces.BYTES * 4 + 100] ^= 1
    before, after = kept
    assert [number for number in range(10) if before[number] != after[number]] == [4]


def test_where_nothing_is_in_pieces_nothing_happens(tmp_path):
    pieces.join(tmp_path / "not there")
    (tmp_path / "database.dump").write_text("whole")
    pieces.join(tmp_path)
    assert (tmp_path / "database.dump").read_text() == "whole"
