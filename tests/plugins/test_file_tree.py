"""The transaction behind install_tree, driven directly."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from file_tree import Tree, TreeError, Wanted, diffs, install, look, plan, recover

ROOT = Path(__file__).parents[2]


@pytest.fixture
def dest(tmp_path):
    (tmp_path / "dest").mkdir()
    return tmp_path / "dest"


@pytest.fixture
def journal(tmp_path):
    return str(tmp_path / "journal")


def tree(dest, files=None, **options):
    wanted = [
        Wanted(str(dest / name), 0o644, content=content.encode()) for name, content in (files or {}).items()
    ]
    for name in ("absent", "exclusive"):
        options[name] = [str(dest / path) for path in options.get(name, [])]
    return Tree(dest=str(dest), files=options.pop("wanted", wanted), **options)


def snapshot(directory):
    """Everything below a directory, in all that a transaction promises to keep."""
    return {path: look(path) for path in sorted(map(str, Path(directory).rglob("*")))}


def test_writes_what_is_missing_and_then_nothing(dest, journal):
    wanted = tree(dest, {"a/b/one": "1\n", "two": "2\n"})
    result = install(wanted, journal=journal)
    assert [change.path for change in result.changes] == [
        str(dest / name) for name in ("a", "a/b", "a/b/one", "two")
    ]
    assert (dest / "a/b/one").read_text() == "1\n"
    assert install(wanted, journal=journal).changes == []
    assert not [path for path in dest.rglob("*") if "install_tree" in path.name]


def test_heals_content_and_mode(dest, journal):
    wanted = tree(dest, {"one": "1"})
    install(wanted, journal=journal)
    (dest / "one").write_text("changed by hand")
    (dest / "one").chmod(0o666)
    install(wanted, journal=journal)
    assert (dest / "one").read_text() == "1"
    assert (dest / "one").stat().st_mode & 0o7777 == 0o644


def test_heals_a_mode_alone(dest, journal):
    wanted = tree(dest, {"one": "1"})
    install(wanted, journal=journal)
    (dest / "one").chmod(0o666)
    assert len(install(wanted, journal=journal).changes) == 1
    assert (dest / "one").stat().st_mode & 0o7777 == 0o644


def test_heals_an_owner(dest, journal):
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    wanted = tree(dest, wanted=[Wanted(str(dest / "one"), 0o640, owner="root", group="daemon", content=b"1")])
    install(wanted, journal=journal)
    os.chown(dest / "one", 1234, 1234)
    install(wanted, journal=journal)
    state = look(str(dest / "one"))
    assert (state.uid, state.mode) == (0, 0o640)
    assert state.gid != 1234


def test_binary_content(dest, journal):
    content = bytes(range(256)) * 4
    install(tree(dest, wanted=[Wanted(str(dest / "b"), 0o644, content=content)]), journal=journal)
    assert (dest / "b").read_bytes() == content


def test_a_link_is_replaced_and_its_target_left_alone(dest, journal, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (dest / "one").symlink_to(precious)
    install(tree(dest, {"one": "1"}), journal=journal)
    assert not (dest / "one").is_symlink()
    assert precious.read_text() == "precious"


def test_a_linked_directory_inside_an_exclusive_one_is_not_written_through(dest, journal, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.py").write_text("precious")
    (dest / "app").symlink_to(outside)
    wanted = tree(
        dest, {"app/x.py": "new"}, directories=[Wanted(str(dest / "app"), 0o755)], exclusive=["app"]
    )
    install(wanted, journal=journal)
    assert (outside / "x.py").read_text() == "precious"
    assert not (dest / "app").is_symlink()
    assert (dest / "app/x.py").read_text() == "new"
    assert install(wanted, journal=journal).changes == []


def test_parents_that_are_links_to_directories_are_the_systems_layout(dest, journal):
    (dest / "usr").mkdir()
    (dest / "lib").symlink_to("usr")
    install(tree(dest, {"lib/one": "1"}), journal=journal)
    assert (dest / "usr/one").read_text() == "1"
    assert (dest / "lib").is_symlink()


@pytest.mark.parametrize("path", ["../outside", "a/../../outside", "/etc/passwd"])
def test_refuses_paths_outside(dest, journal, path):
    with pytest.raises(TreeError, match="not below"):
        install(tree(dest, {path: "x"}), journal=journal)
    with pytest.raises(TreeError, match="not below"):
        install(tree(dest, absent=[path]), journal=journal)


def test_refuses_what_is_in_the_way(dest, journal):
    (dest / "one").mkdir()
    with pytest.raises(TreeError, match="is a directory"):
        install(tree(dest, {"one": "1"}), journal=journal)
    (dest / "two").write_text("")
    with pytest.raises(TreeError, match="in the way"):
        install(tree(dest, {"two/three": "3"}), journal=journal)
    os.mkfifo(dest / "pipe")
    with pytest.raises(TreeError, match="pipe"):
        install(tree(dest, {"pipe": "1"}), journal=journal)


def test_absent_and_exclusive(dest, journal):
    for name in ("gone/deep/file", "mine/keep", "mine/stranger", "mine/__pycache__/keep.pyc", "mine/old/x"):
        (dest / name).parent.mkdir(parents=True, exist_ok=True)
        (dest / name).write_text(name)
    (dest / "mine/link").symlink_to("keep")
    wanted = tree(dest, {"mine/keep": "mine/keep"}, absent=["gone", "never/there"], exclusive=["mine"])
    install(wanted, journal=journal)
    left = {str(path.relative_to(dest)) for path in dest.rglob("*")}
    assert left == {"mine", "mine/keep", "mine/__pycache__", "mine/__pycache__/keep.pyc"}
    assert install(wanted, journal=journal).changes == []


def test_in_an_exclusive_directory_a_file_and_a_directory_may_change_places(dest, journal):
    (dest / "mine/one/deep").mkdir(parents=True)
    (dest / "mine/one/deep/file").write_text("old")
    (dest / "mine/two").write_text("old")
    before = snapshot(dest)
    directories = [Wanted(str(dest / "mine/two"), 0o755)]
    wanted = tree(dest, {"mine/one": "1", "mine/two/deep": "2"}, exclusive=["mine"], directories=directories)
    with pytest.raises(TreeError, match="unknown directive"):
        install(wanted, journal=journal, validate=refusing())
    assert snapshot(dest) == before
    install(wanted, journal=journal)
    assert (dest / "mine/one").read_text() == "1"
    assert (dest / "mine/two/deep").read_text() == "2"


def refusing(words="line 3: unknown directive"):
    return [[sys.executable, "-c", f"import sys; print({words!r}); sys.exit(1)"]]


def test_a_refused_tree_leaves_everything_exactly_as_it_was(dest, journal):
    (dest / "old").write_text("old")
    (dest / "old").chmod(0o604)
    os.utime(dest / "old", ns=(1, 1_000_000_001))
    (dest / "linked").symlink_to("nowhere")
    (dest / "box/in").mkdir(parents=True)
    (dest / "box/in/file").write_bytes(b"\0\xff")
    (dest / "box").chmod(0o710)
    before = snapshot(dest)
    wanted = tree(
        dest,
        {"old": "new", "linked": "now a file", "new/dir/file": "x"},
        directories=[Wanted(str(dest / "box"), 0o755)],
        absent=["box/in"],
    )
    with pytest.raises(TreeError, match="line 3: unknown directive"):
        install(wanted, journal=journal, validate=refusing())
    assert snapshot(dest) == before
    assert recover(journal) == []


def test_the_validation_sees_the_new_files_and_runs_only_after_a_change(dest, journal):
    wanted = tree(dest, {"one": "1"})
    check = [["test", "-f", str(dest / "one")]]
    install(wanted, journal=journal, validate=check)
    assert install(wanted, journal=journal, validate=refusing()).changes == []


def test_a_validation_that_is_not_there_puts_everything_back(dest, journal):
    with pytest.raises(TreeError, match="could not be run"):
        install(tree(dest, {"one": "1"}), journal=journal, validate=[["/no/such/command"]])
    assert snapshot(dest) == {}


def test_a_write_that_fails_half_way_puts_everything_back(dest, journal, monkeypatch):
    def full(path, state):
        if path.endswith("two") and state.kind == "file":
            raise OSError(28, "No space left on device")
        real(path, state)

    real = __import__("file_tree").put
    monkeypatch.setattr("file_tree.put", full)
    with pytest.raises(OSError, match="No space left"):
        install(tree(dest, {"one": "1", "two": "2"}), journal=journal)
    assert snapshot(dest) == {}


def test_a_run_killed_before_the_validation_is_taken_back_by_the_next(dest, journal):
    (dest / "one").write_text("good")
    before = snapshot(dest)
    killed = textwrap.dedent(f"""
        import os, sys
        sys.path.insert(0, {str(ROOT / "plugins/module_utils")!r})
        from file_tree import Tree, Wanted, install
        files = [Wanted({str(dest)!r} + "/" + name, 0o600, content=b"half") for name in ("one", "two")]
        install(Tree({str(dest)!r}, files), journal={journal!r}, validate=[["sh", "-c", "kill -9 $PPID"]])
    """)
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == -9
    assert (dest / "one").read_text() == "half"

    seen = install(tree(dest, {"one": "good"}), journal=journal, check=True)
    assert seen.recovered == [str(dest / "one"), str(dest / "two")]
    assert (dest / "one").read_text() == "half"

    result = install(tree(dest, {"one": "good"}), journal=journal)
    assert result.recovered == [str(dest / "one"), str(dest / "two")]
    assert snapshot(dest) == before
    assert install(tree(dest, {"one": "good"}), journal=journal).recovered == []


def test_the_journal_is_private(dest, journal):
    (dest / "secret").write_text("old")
    look_inside = ["sh", "-c", f"stat -c %a {journal} {journal}/open.json > {dest}/../seen"]
    install(tree(dest, {"secret": "new"}), journal=journal, validate=[look_inside])
    seen = (dest / "../seen").read_text().split()
    assert seen == ["700", "600"]


def test_check_mode_writes_nothing(dest, journal):
    result = install(tree(dest, {"a/one": "1"}), journal=journal, validate=refusing(), check=True)
    assert len(result.changes) == 2
    assert snapshot(dest) == {}
    assert not Path(journal).exists()


def test_an_unknown_owner_stops_the_play_but_not_a_check(dest, journal):
    wanted = tree(dest, wanted=[Wanted(str(dest / "one"), 0o644, owner="nobody-knows-me", content=b"1")])
    with pytest.raises(TreeError, match="no user 'nobody-knows-me'"):
        install(wanted, journal=journal)
    assert len(plan(wanted, check=True)) == 1


def test_a_diff_shows_what_differs_and_no_secret(dest, journal):
    (dest / "plain").write_text("old\n")
    (dest / "key").write_text("old key")
    (dest / "bin").write_bytes(b"\xff")
    (dest / "removed").write_text("who knows")
    for name in ("plain", "key", "bin", "removed"):
        (dest / name).chmod(0o644)
    files = [
        Wanted(str(dest / "plain"), 0o600, content=b"new\n"),
        Wanted(str(dest / "key"), 0o644, content=b"new key", secret=True),
        Wanted(str(dest / "bin"), 0o644, content=b"\xfe\xff"),
    ]
    changes = plan(tree(dest, wanted=files, absent=["removed"]))
    plain, key, binary, removed = diffs(changes)
    assert plain["before"].endswith("0644\nold\n")
    assert plain["after"].endswith("0600\nnew\n")
    assert (key["before"], key["after"]) == ("(old content, not shown)\n", "(new content, not shown)\n")
    assert binary["after"] == "(2 bytes that are not text)\n"
    assert "who knows" not in removed["before"]


def test_two_runs_at_once_wait_for_each_other(dest, journal, monkeypatch):
    monkeypatch.setattr("file_tree.LOCK_SECONDS", 0)
    inner = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(ROOT / "plugins/module_utils")!r})
        import file_tree
        file_tree.LOCK_SECONDS = 0
        try:
            file_tree.install(file_tree.Tree({str(dest)!r}), journal={journal!r})
        except file_tree.TreeError as error:
            sys.exit(0 if "another play" in str(error) else 1)
        sys.exit(1)
    """)
    install(tree(dest, {"one": "1"}), journal=journal, validate=[[sys.executable, "-c", inner]])
    assert (dest / "one").exists()
