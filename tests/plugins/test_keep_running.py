"""keep_running against a systemctl that remembers what it was told."""

import os
import time

import pytest
from keep_running import SystemdError, keep_running, keep_stopped


def ago(seconds):
    return str(int((time.clock_gettime(time.CLOCK_MONOTONIC) - seconds) * 1e6))


class Systemd:
    def __init__(self, **units):
        sound = {
            "LoadState": "loaded",
            "UnitFileState": "enabled",
            "ActiveState": "active",
            "NeedDaemonReload": "no",
            "FragmentPath": "/lib/systemd/system/x",
            "Triggers": "",
            "ActiveEnterTimestampMonotonic": ago(0),
            "StateChangeTimestampMonotonic": ago(0),
        }
        self.units = {name: {**sound, **state} for name, state in units.items()}
        self.told = []
        self.refuses = ()

    def run(self, command):
        program, verb, *rest = command
        if verb == "show":
            names = rest[rest.index("--") + 1 :]
            blocks = ("\n".join(f"{k}={v}" for k, v in self.units[name].items()) for name in names)
            return 0, "\n\n".join(blocks) + "\n", ""
        if program == "journalctl":
            return 0, "it said this\n", ""
        if verb in self.refuses:
            return 1, "", f"{verb} failed"
        self.told.append(" ".join(command[1:]))
        if verb == "daemon-reload":
            for unit in self.units.values():
                unit["NeedDaemonReload"] = "no"
                if unit["LoadState"] == "masked":
                    unit.update(LoadState="loaded", UnitFileState="disabled")
        return 0, "", ""

    def keep(self, *, reads=(), rereads=(), check=False):
        return keep_running(self.run, list(self.units), list(reads), list(rereads), check=check)


def test_nothing_is_done_when_nothing_is_wrong():
    systemd = Systemd(a={}, b={"UnitFileState": "static"}, c={"UnitFileState": "generated"})
    assert systemd.keep() == {}
    assert systemd.told == []


def test_a_stopped_and_disabled_unit():
    systemd = Systemd(a={"UnitFileState": "disabled", "ActiveState": "inactive"}, b={})
    assert systemd.keep() == {"a": ["enabled", "started"]}
    # What stands beside its file may be new, and systemd loads it only now.
    assert systemd.told == ["daemon-reload", "enable a", "reset-failed a", "start a"]


def test_a_masked_unit():
    systemd = Systemd(a={"LoadState": "masked", "UnitFileState": "masked", "ActiveState": "inactive"})
    assert systemd.keep() == {"a": ["unmasked", "enabled", "started"]}
    assert systemd.told[:3] == ["unmask --runtime a", "unmask a", "daemon-reload"]


def test_systemd_learns_of_a_changed_unit_file():
    systemd = Systemd(a={"NeedDaemonReload": "yes"})
    assert systemd.keep() == {}
    assert systemd.told == ["daemon-reload"]


def test_systemd_learns_of_a_changed_file_of_what_a_timer_starts():
    systemd = Systemd(**{"a.timer": {"Triggers": "a.service"}, "a.service": {"NeedDaemonReload": "yes"}})
    assert keep_running(systemd.run, ["a.timer"], [], [], check=False) == {}
    assert systemd.told == ["daemon-reload"]


def test_a_unit_older_than_what_it_reads_is_restarted(tmp_path):
    settings = tmp_path / "settings"
    settings.write_text("new")
    systemd = Systemd(a={"ActiveEnterTimestampMonotonic": ago(3600)})
    assert systemd.keep(reads=[str(settings), "/not/there"]) == {"a": ["restarted"]}
    assert systemd.told == ["daemon-reload", "restart a"]
    assert Systemd(a={}).keep(reads=["/etc/passwd"]) == {}


def test_systemd_learns_of_the_first_drop_in_of_a_unit_that_runs(tmp_path):
    """It does not say NeedDaemonReload then, as it has not seen the directory yet."""
    drop_ins = tmp_path / "a.service.d"
    drop_ins.mkdir()
    (drop_ins / "ours.conf").write_text("[Service]\n")
    systemd = Systemd(a={"ActiveEnterTimestampMonotonic": ago(3600)})
    assert systemd.keep(reads=[str(drop_ins)]) == {"a": ["restarted"]}
    assert systemd.told == ["daemon-reload", "restart a"]
    systemd = Systemd(a={})
    assert systemd.keep(reads=["/etc/passwd"]) == {}
    assert systemd.told == []


def test_a_unit_that_read_its_directory_before_the_last_change_is_reloaded(tmp_path):
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites/removed").write_text("")
    long_ago = {"ActiveEnterTimestampMonotonic": ago(7200), "StateChangeTimestampMonotonic": ago(3600)}
    for path in (tmp_path / "sites/removed", tmp_path / "sites", tmp_path):
        os.utime(path, (time.time() - 5000, time.time() - 5000))
    assert Systemd(a=long_ago).keep(rereads=[str(tmp_path)]) == {}
    (tmp_path / "sites/removed").unlink()
    systemd = Systemd(a=long_ago)
    assert systemd.keep(rereads=[str(tmp_path)]) == {"a": ["reloaded"]}
    assert systemd.told == ["reload a"]


def test_check_mode_only_says():
    systemd = Systemd(a={"LoadState": "not-found", "UnitFileState": "", "ActiveState": "inactive"})
    assert systemd.keep(check=True) == {"a": ["enabled", "started"]}
    assert systemd.told == []


def test_a_missing_unit_and_one_that_does_not_start_are_named():
    systemd = Systemd(a={"LoadState": "not-found", "UnitFileState": "", "ActiveState": "inactive"})
    with pytest.raises(SystemdError, match="no usable unit a"):
        systemd.keep()
    systemd = Systemd(a={"ActiveState": "failed"})
    systemd.refuses = ("start",)
    with pytest.raises(SystemdError, match=r"(?s)`systemctl start a` failed.*it said this"):
        systemd.keep()


def test_what_earlier_releases_left_running_is_stopped():
    gone = {"LoadState": "not-found", "UnitFileState": "", "ActiveState": "inactive"}
    systemd = Systemd(
        old={**gone, "ActiveState": "active"}, older=gone, broken={**gone, "ActiveState": "failed"}
    )
    assert keep_stopped(systemd.run, list(systemd.units), check=True) == {"old": ["stopped"]}
    assert systemd.told == []
    assert keep_stopped(systemd.run, list(systemd.units), check=False) == {"old": ["stopped"]}
    assert systemd.told == ["stop old"]
    assert keep_stopped(systemd.run, [], check=False) == {}
    assert keep_running(systemd.run, [], [], [], check=False) == {}
    assert systemd.told == ["stop old"]
    systemd.refuses = ("stop",)
    with pytest.raises(SystemdError, match="stop failed"):
        keep_stopped(systemd.run, ["old"], check=False)


def test_what_is_not_wanted_any_more_does_not_come_back_at_a_boot(tmp_path):
    (tmp_path / "there.service").write_text("[Service]\n")
    packaged = {"FragmentPath": str(tmp_path / "there.service")}
    systemd = Systemd(
        runs=packaged,
        rests={**packaged, "ActiveState": "inactive"},
        put_away={**packaged, "ActiveState": "inactive", "UnitFileState": "disabled"},
        # What systemd remembers of a unit whose file was removed: there is nothing to disable.
        remembered={"FragmentPath": str(tmp_path / "gone.service")},
    )
    done = {"runs": ["disabled", "stopped"], "rests": ["disabled"], "remembered": ["stopped"]}
    assert keep_stopped(systemd.run, list(systemd.units), check=True) == done
    assert systemd.told == []
    assert keep_stopped(systemd.run, list(systemd.units), check=False) == done
    # Stopped first, it would be a unit to be healed.
    assert systemd.told == ["disable runs rests", "stop runs remembered"]
