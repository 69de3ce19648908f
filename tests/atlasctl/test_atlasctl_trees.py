"""How files take each other's place: none is lost, and each keeps its owner."""

import errno
import grp
import os
import pwd
import shutil
from pathlib import Path

import pytest

from atlasctl.backup import trees
from atlasctl.backup.make import ASIDE


def put(path, text, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def tree(top):
    return {str(path.relative_to(top)): path.read_text() for path in sorted(top.rglob("*")) if path.is_file()}


@pytest.fixture
def files(tmp_path):
    """A restored copy, what it takes the place of, and where that is kept."""
    copy, live = tmp_path / "copy", tmp_path / "live"
    for name, text in {"a": "old a", "deep/b": "old b", "c.tmp": "old c"}.items():
        put(copy / name, text)
    put(copy / "a", "old a", 0o640)
    (copy / "deep").chmod(0o750)
    put(live / "a", "new a", 0o600)
    put(live / "only here", "stays")
    put(live / "c.tmp", "new c")
    return copy, live, live / ".atlas-replaced"


def test_files_take_their_places_and_none_is_lost(files):
    copy, live, aside = files
    trees.merge(copy, live, aside, ("*.tmp",))
    assert tree(aside) == {"a": "new a"}
    assert {name: text for name, text in tree(live).items() if not name.startswith(".")} == {
        "a": "old a", "deep/b": "old b", "only here": "stays", "c.tmp": "new c",
    }  # fmt: skip
    assert (live / "a").stat().st_mode & 0o777 == 0o640
    assert (live / "deep").stat().st_mode & 0o777 == 0o750
    assert (aside / "a").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_each_belongs_to_whom_it_belonged(files):
    copy, live, aside = files
    for name in ("a", "deep", "deep/b"):
        os.chown(copy / name, 1234, 2345)
    trees.merge(copy, live, aside, ())
    for name in ("a", "deep", "deep/b"):
        assert ((live / name).stat().st_uid, (live / name).stat().st_gid) == (1234, 2345), name


@pytest.mark.parametrize("moves", [0, 1, 2])
def test_killed_in_the_middle_it_goes_on_or_back(files, monkeypatch, moves):
    copy, live, aside = files
    before, real, left = tree(live), trees.move, [moves]

    def move(source, target):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return real(source, target)

    monkeypatch.setattr(trees, "move", move)
    with pytest.raises(KeyboardInterrupt):
        trees.merge(copy, live, aside, ())
    monkeypatch.undo()
    trees.merge(copy, live, aside, ())
    assert tree(live) | {"a": "old a", "deep/b": "old b", "c.tmp": "old c"} == tree(live)
    assert tree(aside) == {"a": "new a", "c.tmp": "new c"}
    trees.merge(aside, live, None, ())
    assert tree(live) | before == tree(live)


def test_a_link_to_a_directory_is_put_in_place_and_taken_back_as_a_link(files):
    copy, live, aside = files
    put(copy / "issued/old/key", "old key")
    (copy / "current").symlink_to("issued/old")
    put(live / "issued/new/key", "new key")
    (live / "current").symlink_to("issued/new")
    trees.merge(copy, live, aside, ())
    assert (live / "current").readlink() == Path("issued/old")
    assert (live / "current/key").read_text() == "old key"
    trees.merge(aside, live, None, ())
    assert (live / "current").readlink() == Path("issued/new")
    assert tree(live)["issued/new/key"] == "new key"


def test_from_another_disk_a_file_comes_whole_and_with_its_owner(files, monkeypatch):
    copy, live, aside = files
    real = Path.replace

    def replace(self, target):
        if self.is_relative_to(copy):
            raise OSError(errno.EXDEV, "another disk")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    (copy / "a").chmod(0o640)
    trees.merge(copy, live, aside, ())
    assert ((live / "a").read_text(), (live / "a").stat().st_mode & 0o777) == ("old a", 0o640)
    assert not (copy / "a").exists()


def test_what_came_after_the_snapshot_is_added_and_nothing_is_replaced(files):
    copy, live, _ = files
    before = tree(copy)
    put(live / "later/z", "came later")
    trees.add(live, copy, (f"{live}/c.tmp",))
    assert tree(copy) == tree(live) | before | {"later/z": "came later"}
    assert "came later" in tree(live).values()


def test_a_file_gives_way_to_a_directory_and_the_other_way(files):
    copy, live, aside = files
    put(live / "deep", "a file where a directory was")
    put(copy / "only there/x", "x")
    put(live / "a2/y", "a directory where a file was")
    put(copy / "a2", "old a2")
    trees.merge(copy, live, aside, ())
    assert ((live / "deep/b").read_text(), (live / "a2").read_text()) == ("old b", "old a2")
    assert tree(aside)["deep"] == "a file where a directory was"
    assert tree(aside)["a2/y"] == "a directory where a file was"
    trees.merge(aside, live, None, ())
    assert (live / "deep").read_text() == "a file where a directory was"
    assert (live / "a2/y").read_text() == "a directory where a file was"
    assert (live / f"{trees.BESIDE}-deep/b").read_text() == "old b", "what came stays"


def test_a_single_file_is_exchanged_too(tmp_path):
    copy, live = put(tmp_path / "copy/x", "old"), put(tmp_path / "live/x", "new")
    trees.merge(copy, live, tmp_path / "aside")
    assert (live.read_text(), (tmp_path / "aside").read_text()) == ("old", "new")


def test_what_gave_way_once_may_do_so_again(files):
    copy, live, _ = files
    for _ in range(2):
        put(live / "a2/y", "a directory")
        put(copy / "a2", "a file")
        trees.merge(copy, live)
        assert (live / "a2").read_text() == "a file"
        (live / "a2").unlink()


def test_what_goes_while_it_is_added_is_not_missed(files, monkeypatch):
    """Of a library in use: a file, and a directory, that were there a moment ago."""
    copy, live, _ = files
    put(live / "later/z", "came later")
    put(live / "gone", "goes at once")
    put(live / "empty/x", "goes, too")
    real = trees.walk

    def walk(top):
        for name, is_directory in real(top):
            if name == Path("gone"):
                (live / "gone").unlink()
            if name == Path("empty"):
                shutil.rmtree(live / "empty")
            yield name, is_directory

    monkeypatch.setattr(trees, "walk", walk)
    trees.add(live, copy)
    assert (copy / "later/z").read_text() == "came later"
    assert not (copy / "gone").exists()
    assert not (copy / "empty").exists()


def test_what_is_half_written_or_kept_aside_is_not_added(files):
    copy, live, aside = files
    put(live / "deep/.new-x", "half")
    put(aside / "deep/b", "of before")
    trees.add(live, copy, ASIDE)
    assert "half" not in tree(copy).values()
    assert "of before" not in tree(copy).values()


def test_a_link_to_a_directory_is_a_thing_of_its_own(files):
    _, live, _ = files
    put(live / "issued/new/key", "new key")
    (live / "current").symlink_to("issued/new")
    (live / "nowhere").symlink_to("not/there")
    found = list(trees.walk(live))
    assert (Path("current"), False) in found
    assert (Path("nowhere"), False) in found
    assert (Path("current/key"), False) not in found
    assert list(trees.walk(live / "current")) == [(Path(), False)]
    assert list(trees.walk(live / "not there")) == []


def test_whatever_it_is_it_is_removed(files):
    _, live, _ = files
    (live / "link").symlink_to("only here")
    for name in ("link", "a", "a/below a file", "not there"):
        trees.remove(live / name)
    assert (live / "only here").read_text() == "stays"
    trees.remove(live)
    assert not live.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owners_are_known_by_name(files):
    copy, _, _ = files
    os.chown(copy / "a", 4321, 4321)
    (copy / "link").symlink_to("nowhere")
    os.chown(copy / "link", 4321, 4321, follow_symlinks=False)
    trees.give_back(copy, {"4321": "nobody"}, {"4321": "nogroup"})
    for name in ("a", "link"):
        seen = (copy / name).lstat()
        assert (pwd.getpwuid(seen.st_uid).pw_name, grp.getgrgid(seen.st_gid).gr_name) == ("nobody", "nogroup")
