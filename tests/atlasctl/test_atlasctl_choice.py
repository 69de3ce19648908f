import pytest

from atlasctl.backup.choice import SHOWN, choose
from atlasctl.backup.restic import Snapshot
from atlasctl.trouble import Trouble


def snapshot(day, repository="local", kind="full"):
    made = f"2026-10-{day:02}T03:10:00.5Z"
    return Snapshot(f"{repository[:4]}{day:04}", made, ("atlas", kind), ("/var/lib/atlas",), repository)


BOTH = [snapshot(day, repository) for repository in ("local", "bucket") for day in (21, 22, 23)]


@pytest.mark.parametrize(("said", "day"), [("", 23), ("1", 23), (" 3 ", 21)])
def test_a_number_is_a_snapshot_and_enter_the_newest(said, day, capsys):
    assert choose(BOTH, lambda _: said) == snapshot(day)
    assert "  1  loca0023  2026-10-23T03:10:00Z  full       local\n" in capsys.readouterr().out


def test_what_is_no_number_shown_is_asked_again():
    said = iter(["0", "4", "-1", "latest", "²", "2"])
    assert choose(BOTH, lambda _: next(said)) == snapshot(22)


def test_what_only_the_bucket_has_is_shown_too(capsys):
    assert choose([*BOTH, snapshot(24, "bucket")], lambda _: "") == snapshot(24, "bucket")
    assert capsys.readouterr().out.count("bucket") == 1


def test_the_database_alone_is_another_backup_of_the_same_moment(capsys):
    choose([snapshot(22), snapshot(22, kind="database")], lambda _: "")
    out = capsys.readouterr().out
    assert ("full" in out, "database" in out) == (True, True)


def test_of_many_the_newest_are_shown(capsys):
    choose([snapshot(day) for day in range(1, 29)], lambda _: "")
    out = capsys.readouterr().out
    assert (out.count("\n"), "loca0014" in out, "loca0013" in out) == (SHOWN, True, False)


def test_who_leaves_has_chosen_nothing():
    def leave(_):
        raise EOFError

    with pytest.raises(Trouble, match="Nothing was chosen"):
        choose(BOTH, leave)
