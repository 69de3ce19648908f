"""A personal machine fetches the backups with a key that can do nothing else, and restores them alone."""

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MACHINE = "/var/lib/atlas-backup/repository"
METRIC = "/var/lib/prometheus/node-exporter/atlas_backup_home.prom"
PLACE = "/srv/anna/.config/atlas/backup-pull"
COPY = "/srv/anna/atlas-backup"
#: Anna's own copy of the repository, and her way in as the owner of the machine.
ANNA = """
set -eu
useradd --create-home --home-dir /srv/anna --shell /bin/bash anna
loginctl enable-linger anna
cd /srv/anna
install -d -m 0700 .ssh
cp /tmp/anna/id_ed25519 .ssh/
echo "localhost $(cut -d ' ' -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub)" > .ssh/known_hosts
mkdir -p atlas/scripts atlas/inventory/production/group_vars/all
cp /tmp/anna/backup_pull.py atlas/scripts/
chown -R anna: .
rm -r /tmp/anna
"""


@pytest.fixture(scope="module")
def ssh(scenario_directory):
    """Come by SSH as the one who fetches backups."""
    options = ["-F", str(scenario_directory / "ssh/config"), "-o", "User=atlas-home", "-o", "BatchMode=yes"]

    def run(*words, program="ssh", stdin=""):
        command = [program, *options, *words]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30, check=False)

    return run


@pytest.fixture(scope="module")
def anna(host, scenario_directory):
    """Somebody with a machine at home; runs what she types."""
    host.check_output("mkdir -p /tmp/anna")
    config = str(scenario_directory / "ssh/config")
    for file in (scenario_directory / "ssh/id_ed25519", ROOT / "scripts/backup_pull.py"):
        subprocess.run(["scp", "-q", "-F", config, str(file), "machine:/tmp/anna/"], check=True)
    host.check_output(ANNA)

    def run(command):
        inside = f"cd /srv/anna/atlas; export XDG_RUNTIME_DIR=/run/user/$(id -u); {command}"
        return host.run("runuser --login anna --command %s", inside)

    yield run
    host.run("loginctl disable-linger anna; sleep 1; pkill -u anna; sleep 1; userdel --remove --force anna")


SET_UP = "HOST=atlas-admin@localhost python3 scripts/backup_pull.py"
RUN = f"python3 {PLACE}/backup_pull.py run"


@pytest.fixture(scope="module")
def stranger(anna):
    """The first time, when the machine does not know the key yet."""
    return anna(SET_UP)


@pytest.fixture(scope="module")
def home(host, anna, stranger):
    """The second time, with a key that the machine knows."""
    assert stranger.rc != 0
    host.check_output(f"cp -p /srv/anna/.ssh/id_ed25519 {PLACE}/id_ed25519 && rm {PLACE}/id_ed25519.pub")
    host.check_output(f"ssh-keygen -y -f {PLACE}/id_ed25519 > {PLACE}/id_ed25519.pub")
    done = anna(SET_UP)
    assert done.rc == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def back_up(host):
    """Make a backup on the machine of one more file, with the rights of role backup."""

    def make(name, size=3_000_000):
        host.check_output(f"head -c {size} /dev/urandom > /root/original/{name}")
        host.check_output(
            "systemd-run --quiet --collect --wait --pipe --property=CapabilityBoundingSet='CAP_CHOWN"
            " CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER' --property=UMask=0077"
            " --setenv=RESTIC_PASSWORD_FILE=/etc/atlas-backup/password --setenv=HOME=/root"
            f" restic --repo {MACHINE} backup --quiet --host=atlas --tag=atlas,full /root/original"
        )

    return make


def snapshots(anna):
    said = anna(f"restic --repo {COPY} --password-file {PLACE}/home-password snapshots --json")
    return {one["original"] for one in json.loads(said.stdout)}


def test_who_is_not_let_in_yet_is_told_how(stranger):
    assert stranger.rc == 2
    assert "Permission denied" in stranger.stderr
    assert "ansible-playbook -i inventory/production site.yml" in stranger.stderr
    assert "has a password of its own" in stranger.stdout


def test_it_is_set_up_by_one_command_and_repeated_weekly(host, anna, home):
    assert "1 new backups were copied" in home.stdout
    assert "has a password" not in home.stdout  # it was told the first time
    timer = anna(
        "systemctl --user show atlas-backup-pull.timer -p ActiveState -p UnitFileState -p Persistent"
    )
    assert set(timer.stdout.split()) == {"ActiveState=active", "UnitFileState=enabled", "Persistent=yes"}
    assert anna("systemctl --user start atlas-backup-pull.service").rc == 0
    for secret in ("id_ed25519", "machine-password", "home-password"):
        assert host.file(f"{PLACE}/{secret}").mode == 0o600
    status = anna(f"python3 {PLACE}/backup_pull.py status")
    assert "All was copied 0.0 days ago: 1 backups" in status.stdout


@pytest.mark.usefixtures("home")
def test_the_machine_knows_when_it_was_fetched(host, anna):
    host.check_output(
        "touch -d '20 days ago' /var/lib/atlas-backup/fetched && touch -a -d @0 /var/lib/atlas-backup/fetched"
    )
    host.check_output("systemctl start atlas-backup-home.service")
    age = f"echo $(($(date +%s) - $(grep -v '#' {METRIC} | cut -d ' ' -f 2)))"
    assert int(host.check_output(age)) >= 20 * 86400
    assert anna(RUN).rc == 0
    host.check_output("systemctl start atlas-backup-home.service")
    assert int(host.check_output(age)) < 60


@pytest.mark.usefixtures("home")
def test_only_what_is_new_is_fetched(host, anna, back_up):
    before = int(host.check_output(f"du -sb {COPY} | cut -f 1"))
    back_up("second")
    done = anna(RUN)
    assert done.rc == 0, done.stderr
    assert "1 new backups were copied" in done.stdout
    added = int(host.check_output(f"du -sb {COPY} | cut -f 1")) - before
    assert 3_000_000 < added < 3_200_000
    assert "0 new backups were copied" in anna(RUN).stdout


@pytest.mark.usefixtures("home")
def test_home_restores_alone_with_its_own_password(host, anna):
    password = host.file(f"{PLACE}/home-password").content_string.strip()
    host.check_output(f"mv {MACHINE} {MACHINE}.away")
    try:
        restore = (
            f"RESTIC_PASSWORD={password} restic --repo {COPY} restore latest --target /srv/anna/restored"
        )
        host.check_output(restore)
        same = "diff -r /root/original /srv/anna/restored/root/original && echo same"
        assert host.check_output(same) == "same"
    finally:
        host.check_output(f"mv {MACHINE}.away {MACHINE}; rm -rf /srv/anna/restored")
    other = anna(f"restic --repo {COPY} --password-file {PLACE}/machine-password snapshots")
    assert "wrong password" in other.stderr


@pytest.mark.usefixtures("home")
def test_a_new_machine_takes_the_copy_for_its_repository(host, anna):
    """As docs/backup-at-home.md says; the directory is carried there."""
    secret = f"{PLACE}/home-password"
    new = f"--new-password-file {PLACE}/machine-password"
    assert anna(f"restic -r {COPY} --password-file {secret} key add {new}").rc == 0
    host.check_output(f"mv {MACHINE} {MACHINE}.away && cp -r {COPY} {MACHINE} && chown -R root: {MACHINE}")
    try:
        opened = f"restic --repo {MACHINE} --password-file /etc/atlas-backup/password"
        host.check_output(f"{opened} restore latest --target /root/restored")
        same = "diff -r /root/original /root/restored/root/original && echo same"
        assert host.check_output(same) == "same"
    finally:
        host.check_output(f"rm -rf /root/restored {MACHINE} && mv {MACHINE}.away {MACHINE}")


@pytest.mark.parametrize(
    "command",
    ["put /etc/hostname /repository/new", "rm /repository/config", "rename /repository/config /repository/c",
     "mkdir /repository/d", "chmod 777 /repository/config", "symlink /etc /repository/etc", "rm /fetched",
     "get /etc/passwd /dev/null", "get /repository/../../../../etc/passwd /dev/null", "ls /root"],
)  # fmt: skip
def test_the_key_can_read_backups_and_change_nothing(host, ssh, command):
    tree = f"find {MACHINE} /var/lib/atlas-backup/fetched -printf '%p %m %s %T@\n' | sort | sha256sum"
    before = host.check_output(tree)
    done = ssh("-b", "-", "machine", program="sftp", stdin=f"{command}\n")
    assert done.returncode != 0
    assert any(word in done.stderr for word in ("Permission denied", "not found", "No such file")), (
        done.stderr
    )
    assert host.check_output(tree) == before


def test_the_key_does_read(ssh):
    assert (
        ssh("-b", "-", "machine", program="sftp", stdin="get /repository/config /dev/null\n").returncode == 0
    )


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["machine", "id"], "This service allows sftp connections only"),
        (["machine", "cat", "/etc/passwd"], "This service allows sftp connections only"),
        (["-tt", "machine"], "PTY allocation request failed"),
        (["-tt", "machine", "bash", "-i"], "PTY allocation request failed"),
    ],
)
def test_the_key_runs_no_command_and_has_no_shell(ssh, words, answer):
    done = ssh(*words)
    assert done.returncode != 0
    assert "uid=" not in done.stdout
    assert "root:" not in done.stdout
    assert answer in done.stdout + done.stderr


def test_the_key_forwards_nothing(ssh):
    through = ssh("-W", "localhost:22", "machine")
    assert "SSH-2.0" not in through.stdout
    assert "administratively prohibited" in through.stderr
    back = ssh("-o", "ExitOnForwardFailure=yes", "-N", "-R", "9999:localhost:22", "machine")
    assert "remote port forwarding failed" in back.stderr


def test_nobody_else_reads_the_backups(host):
    assert host.run(f"runuser -u nobody -- ls {MACHINE}").rc != 0
    assert host.check_output(f"find {MACHINE} -perm /007") == ""


def test_a_new_file_is_readable_at_once(host, back_up):
    host.check_output("systemctl stop atlas-backup-home.timer")
    back_up("fourth")
    host.check_output("systemctl start atlas-backup-home.timer")
    assert host.check_output(f"find {MACHINE} -type f ! -group atlas-home") == ""
    assert host.check_output(f"find {MACHINE} -type f ! -perm 0440") == ""


@pytest.mark.usefixtures("home")
def test_after_a_power_cut_it_goes_on(host, anna, back_up):
    back_up("large", 60_000_000)
    host.check_output("touch /root/before")
    host.check_output(f"""
        runuser --login anna --command '{RUN}' >/tmp/cut 2>&1 &
        for i in $(seq 3000); do
            find {COPY}/data -type f -newer /root/before | grep -q . && break
            sleep 0.01
        done
        pkill -KILL -u anna 'restic|python3'
        wait
    """)
    before = snapshots(anna)
    done = anna(RUN)
    assert done.rc == 0, done.stderr
    assert len(snapshots(anna) - before) == 1


@pytest.mark.usefixtures("home")
def test_another_host_key_is_refused(host, anna):
    host.check_output(f"cp -p {PLACE}/known_hosts /tmp/known_hosts")
    other = host.check_output(
        "ssh-keygen -q -t ed25519 -N '' -f /tmp/other && cut -d ' ' -f 1,2 /tmp/other.pub"
    )
    host.check_output(f"echo 'atlas-machine {other}' > {PLACE}/known_hosts")
    try:
        refused = anna(RUN)
        assert refused.rc == 2
        assert "its host key is another" in refused.stderr
    finally:
        host.check_output(f"cp -p /tmp/known_hosts {PLACE}/known_hosts; rm /tmp/known_hosts /tmp/other*")


@pytest.mark.usefixtures("home")
def test_a_machine_that_is_away_is_asked_again(host, anna):
    host.check_output(f"sed -i 's/Port 22/Port 2299/' {PLACE}/ssh_config")
    try:
        away = anna(RUN)
        assert (away.rc, "cannot be reached" in away.stderr) == (1, True), away.stderr
    finally:
        host.check_output(f"sed -i 's/Port 2299/Port 22/' {PLACE}/ssh_config")


@pytest.mark.usefixtures("home")
def test_a_machine_without_a_backup_is_told_from_one_that_is_away(host, anna):
    host.check_output(f"mv {MACHINE} {MACHINE}.away")
    try:
        none = anna(RUN)
        assert (none.rc, "has no backup yet" in none.stderr) == (2, True), none.stderr
    finally:
        host.check_output(f"mv {MACHINE}.away {MACHINE}")


@pytest.mark.usefixtures("home")
def test_a_damaged_repository_is_told_and_home_keeps_what_is_good(host, anna, back_up):
    good = snapshots(anna)
    host.check_output(f"cp -a {MACHINE} {MACHINE}.whole; touch /root/before")
    back_up("damaged")
    largest = f"$(find {MACHINE}/data -type f -newer /root/before -size +1M)"
    host.check_output(f"file={largest}; printf damage | dd of=$file bs=1 seek=1000 conv=notrunc status=none")
    try:
        told = anna(RUN)
        assert told.rc == 2
        assert "1 of 1 new backups could not be copied" in told.stderr
        assert "nothing was removed" in told.stderr
        assert snapshots(anna) == good
    finally:
        host.check_output(f"rm -rf {MACHINE} /root/original/damaged && mv {MACHINE}.whole {MACHINE}")


@pytest.mark.timeout(200)
def test_a_key_that_is_taken_out_of_the_list_stays_outside(host, play, ssh):
    assert ssh("-b", "-", "machine", program="sftp", stdin="ls /repository\n").returncode == 0
    gone = play("--extra-vars", json.dumps({"backup_home_keys": []}))
    assert gone.succeeded, gone.output
    assert "Permission denied" in ssh("machine").stderr
    assert not host.file("/etc/ssh/atlas-home.keys").exists
    assert not host.service("atlas-backup-home.timer").is_running
    back = play()
    assert back.succeeded, back.output
    assert ssh("-b", "-", "machine", program="sftp", stdin="ls /repository\n").returncode == 0
