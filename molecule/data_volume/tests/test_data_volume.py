"""Data on a disk of its own: an empty file that is a disk for the machine, where Oracle's volume would be."""

import json
import subprocess
import time

import pytest

SCRIPT = "/usr/local/sbin/atlas-data-volume"
CAP_SYS_RESOURCE = 24
LARGE = "/var/lib/large"
DIRECTORIES = ["/var/lib/atlas", "/var/lib/postgresql", LARGE]


def source(host, point):
    return host.check_output(f"findmnt --noheadings --output SOURCE --mountpoint {point}")


def sums(host, directory):
    return host.check_output(
        f"cd {directory} && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum"
    )


def test_the_directories_live_on_the_disk(host):
    assert source(host, "/srv/atlas") == "/dev/oracleoci/oraclevdb"
    for directory in DIRECTORIES[:2]:
        host.check_output(f"touch {directory}/here")
        assert host.file(f"/srv/atlas{directory}/here").exists
        host.check_output(f"rm {directory}/here")
    said = host.check_output("blkid -p -s LABEL -o value /dev/oracleoci/oraclevdb")
    assert said == "atlas-data"


def test_they_are_mounted_at_every_start_but_the_start_does_not_wait(host):
    for unit in ("srv-atlas.mount", "var-lib-atlas.mount", "var-lib-postgresql.mount"):
        assert host.check_output(f"systemctl is-enabled {unit}") == "enabled"
        shown = host.check_output(f"systemctl show {unit} --property=Before,WantedBy")
        assert "local-fs.target" not in shown
        assert "multi-user.target" in shown


def test_a_database_installed_now_is_on_the_disk_and_never_starts_without_it(host):
    host.check_output("DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends postgresql")
    unit = host.check_output("systemctl list-units --plain --no-legend 'postgresql@*'").split()[0]
    assert host.check_output("find /srv/atlas/var/lib/postgresql -name PG_VERSION | head -n 1")
    assert host.file("/srv/atlas/var/lib/postgresql").user == "postgres"
    host.check_output("systemctl stop var-lib-postgresql.mount srv-atlas.mount")
    assert not host.service(unit).is_running, "it must not outlive its data"
    assert host.run(f"{SCRIPT} --health").rc == 2
    host.check_output(f"systemctl start {unit}")
    assert source(host, "/var/lib/postgresql").startswith("/dev/oracleoci/oraclevdb")
    host.check_output("runuser -u postgres -- psql -c 'select 1'")
    host.check_output(f"{SCRIPT} && {SCRIPT} --health")


def test_health_looks_at_it(host):
    checks = json.loads(host.check_output("cat /etc/atlas/health.d/data-volume.json"))
    said = host.run(" ".join(checks["argv"]))
    assert (said.rc, said.stdout.startswith("mounted")) == (0, True)


def test_it_is_trimmed_by_its_unit(host):
    host.check_output("systemctl start atlas-data-trim.service")
    assert host.service("atlas-data-trim.timer").is_running


def test_what_is_mounted_is_what_is_listed(host, play):
    result = play("--extra-vars", json.dumps({"data_volume_directories": DIRECTORIES[:1]}))
    assert not result.succeeded
    assert "no longer names" in result.output
    assert source(host, "/var/lib/postgresql")


@pytest.fixture
def large(host):
    """A directory with data, of all kinds of files, that something uses."""
    host.check_output(
        f"mkdir -p {LARGE}/a/b && cd {LARGE} && chown nobody {LARGE} && chmod 750 {LARGE}"
        " && for i in $(seq 30); do head -c 1000000 /dev/urandom >a/$i; done"
        " && ln -s ../1 a/b/link && ln a/1 a/b/hard && mkfifo a/pipe && touch 'a/with space' && chmod 600 a/2"
        " && truncate -s 5M a/sparse"
    )
    unit = f"[Service]\\nExecStart=/bin/sh -c 'exec sleep 1000000 <{LARGE}/a/3'\\n"
    host.check_output(
        f'printf "{unit}" >/run/systemd/system/atlas-user.service && systemctl daemon-reload'
        " && systemctl start atlas-user.service"
    )
    return sums(host, LARGE)


@pytest.mark.timeout(600)
def test_data_is_moved_only_when_asked_and_survives_being_killed_anywhere(host, play, large, eventually):
    listed = {"data_volume_directories": DIRECTORIES}
    refused = play("--extra-vars", json.dumps(listed))
    assert not refused.succeeded
    assert "data_volume_move=true" in refused.output
    assert sums(host, LARGE) == large
    assert host.service("atlas-user.service").is_running

    configuration = json.loads(host.check_output("cat /etc/atlas/data-volume.json")) | {
        "directories": DIRECTORIES
    }
    host.check_output(f"cat >/etc/atlas/data-volume.json <<'END'\n{json.dumps(configuration)}\nEND")
    points = set()
    for hundredths in range(5, 400, 12):
        wait = hundredths / 100
        said = host.run(f"timeout --signal=KILL {wait} {SCRIPT} --move; echo $?").stdout
        done = said.strip().endswith("0") and "changed" in said
        there = host.run(f"findmnt --noheadings --mountpoint {LARGE}").rc == 0
        record = host.run("cat /var/lib/atlas-data-volume/large-*.json").stdout
        points.add(json.loads(record)["stage"] if record else "before")
        kept = host.file(f"{LARGE}.before-the-volume").exists
        intact = f"{LARGE}.before-the-volume" if kept else LARGE
        assert sums(host, intact) == large, f"killed after {wait} s"
        if there or done:
            break
    assert "copying" in points
    last = json.loads(host.check_output(f"{SCRIPT} --move"))
    assert sums(host, LARGE) == large, last
    assert source(host, LARGE).startswith("/dev/oracleoci/oraclevdb")
    assert host.check_output(f"stat -c '%U %a' {LARGE}") == "nobody 750"
    assert host.check_output(f"readlink {LARGE}/a/b/link") == "../1"
    assert sums(host, f"{LARGE}.before-the-volume") == large
    eventually(lambda: host.service("atlas-user.service").is_running)
    assert json.loads(host.check_output(SCRIPT)) == {"changed": False, "actions": []}


def begin(host, name, there, stage=None):
    """A directory with `here` in it, a file on the disk in its place, and a move that stands at a stage."""
    directory = f"/var/lib/{name}"
    host.check_output(f"mkdir -p {directory} /srv/atlas{directory} && echo here >{directory}/here")
    host.check_output(f"echo {there} >/srv/atlas{directory}/{there}")
    configuration = json.loads(host.check_output("cat /etc/atlas/data-volume.json"))
    configuration["directories"] = [*DIRECTORIES, directory]
    host.check_output(f"cat >/tmp/{name}.json <<'END'\n{json.dumps(configuration)}\nEND")
    if stage:
        inode = [int(number) for number in host.check_output(f"stat -c '%d %i' {directory}").split()]
        record = json.dumps({"stage": stage, "inode": inode, "units": []})
        digest = host.check_output(f"printf %s {directory} | sha256sum")[:8]
        host.check_output(f"echo '{record}' >/var/lib/atlas-data-volume/{name}-{digest}.json")
    return directory


def end(host, directory):
    unit = host.check_output(f"systemd-escape --path --suffix=mount {directory}")
    host.run(f"systemctl disable --now {unit}; rm -f /etc/systemd/system/{unit}; systemctl daemon-reload")
    host.check_output(f"rm -rf {directory} {directory}.before-the-volume /srv/atlas{directory}")


def test_data_on_both_sides_is_left_for_a_person(host):
    directory = begin(host, "both", "there")
    said = host.run(f"{SCRIPT} --move --configuration=/tmp/both.json")
    assert "Which is right only you can say" in said.stderr
    assert host.file(f"{directory}/here").exists
    assert host.file(f"/srv/atlas{directory}/there").exists
    end(host, directory)


def test_killed_before_the_switch_the_copy_is_made_anew(host):
    directory = begin(host, "early", "stale", "copying")
    host.check_output(f"{SCRIPT} --move --configuration=/tmp/early.json")
    assert host.check_output(f"ls {directory}") == "here"
    assert source(host, directory)
    end(host, directory)


def test_killed_in_the_switch_the_disk_has_it_all(host):
    directory = begin(host, "late", "newer", "switching")
    host.check_output(f"{SCRIPT} --configuration=/tmp/late.json")
    assert host.check_output(f"ls {directory}") == "newer"
    assert host.check_output(f"ls {directory}.before-the-volume") == "here"
    assert host.check_output("ls /var/lib/atlas-data-volume") == ""
    end(host, directory)


def test_what_something_has_open_is_not_moved(host):
    directory = begin(host, "busy", "stale", "copying")
    host.check_output(f"systemd-run --quiet --unit=holder sh -c 'exec sleep 1000 <{directory}/here'")
    said = host.run(f"{SCRIPT} --move --configuration=/tmp/busy.json")
    assert "is used by process" in said.stderr
    assert host.file(f"{directory}/here").exists
    host.check_output("systemctl stop holder.service; rm /var/lib/atlas-data-volume/*")
    end(host, directory)


def test_a_read_only_disk_is_told(host):
    host.check_output("systemctl stop 'postgresql@*' && mount -o remount,ro /srv/atlas")
    try:
        health = host.run(f"{SCRIPT} --health")
        assert (health.rc, "read-only" in health.stdout) == (2, True)
        assert "e2fsck" in host.run(SCRIPT).stderr
    finally:
        host.check_output("mount -o remount,rw /srv/atlas && systemctl start postgresql.service")


def test_an_absent_disk_is_told_in_time(host):
    configuration = json.loads(host.check_output("cat /etc/atlas/data-volume.json"))
    changed = configuration | {"device": "/dev/oracleoci/oraclevdc", "wait_seconds": 1}
    host.check_output(f"cat >/tmp/other.json <<'END'\n{json.dumps(changed)}\nEND")
    started = time.monotonic()
    said = host.run(f"{SCRIPT} --configuration=/tmp/other.json")
    assert said.rc == 1
    assert "Is the volume attached?" in said.stderr
    assert time.monotonic() - started < 5


def test_it_grows_with_its_disk(host, scenario_directory):
    """The last, for the disk stays as it has become."""
    disk = (scenario_directory / "ssh" / "disk").read_text().strip()
    before = int(host.check_output("df --output=size --block-size=1M /srv/atlas | tail -n 1"))
    resize(scenario_directory, disk, 400)
    said = json.loads(host.check_output(f"{SCRIPT} --check"))
    assert said["actions"][0].startswith("grow the filesystem")
    if not int(host.check_output("sed -n 's/^CapBnd:\\t/0x/p' /proc/1/status"), 16) >> CAP_SYS_RESOURCE & 1:
        resize(scenario_directory, disk, 256)
        pytest.skip("growing a mounted filesystem takes CAP_SYS_RESOURCE, which this machine has not")
    said = json.loads(host.check_output(SCRIPT))
    assert said["actions"][0].startswith("grew the filesystem")
    assert int(host.check_output("df --output=size --block-size=1M /srv/atlas | tail -n 1")) > before + 100
    assert json.loads(host.check_output(SCRIPT))["changed"] is False


def resize(scenario_directory, disk, megabytes):
    with (scenario_directory / "ssh" / "disk.img").open("r+b") as file:
        file.truncate(megabytes * 1024 * 1024)
    subprocess.run(["losetup", "--set-capacity", disk], check=True)
