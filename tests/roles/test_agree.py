"""After a restore the secrets that came back are what site.yml writes from now on."""

import yaml


def there_are(home, **secrets):
    """Put these secrets where they are on the machine."""
    for name, secret in secrets.items():
        place = "atlas-backup/password" if name == "backup_password" else f"atlas/secrets/{name}"
        (home / "etc" / place).parent.mkdir(parents=True, exist_ok=True)
        (home / "etc" / place).write_text(secret)


def taken_over(root, home, run_play, **variables):
    """Let the play run with /etc and the controller's directory both below `home`."""
    text = (root / "playbooks/agree.yml").read_text().replace("/etc/", f"{home}/etc/")
    play = yaml.safe_load(text)[0] | {"hosts": "localhost", "become": False}
    play["vars"] |= {"atlas_secrets_directory": str(home / "here"), "atlas_database_engine": "postgresql"}
    play["vars"] |= variables
    run_play(home, play)
    return {path.name: path.read_text() for path in (home / "here").iterdir()}


def test_what_came_back_is_used_and_what_was_used_is_kept(root, tmp_path, run_play):
    there_are(tmp_path, backup_password="of the backups\n")
    (tmp_path / "here").mkdir()
    for name, there, here in (
        ("owner_password", "of old", "of today\n"),
        ("door_key", "the same", "the same\n"),
        ("database_password", "old too", "in no use, as the vault has one\n"),
    ):
        there_are(tmp_path, **{name: there})
        (tmp_path / "here" / name).write_text(here)
    assert taken_over(root, tmp_path, run_play, vault_atlas_database_password="hers") == {
        "owner_password": "of old\n",
        "owner_password.before-restore": "of today\n",
        "door_key": "the same\n",
        "database_password": "in no use, as the vault has one\n",
        "backup_password": "of the backups\n",
    }


def test_a_computer_that_never_saw_the_machine_learns_its_secrets(root, tmp_path, run_play):
    there_are(tmp_path, owner_password="hers", door_key="a key", backup_password="it opens")
    assert taken_over(root, tmp_path, run_play, atlas_database_engine="sqlite") == {
        "owner_password": "hers\n",
        "door_key": "a key\n",
        "backup_password": "it opens\n",
    }
    assert (tmp_path / "here").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "here/owner_password").stat().st_mode & 0o777 == 0o600
