"""The key for backups: its secret is told once, goes into one file, and is shown nowhere."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from oci_operator import CloudError, Operator
from tests.oci_api.server import FakeOci

pytestmark = pytest.mark.usefixtures("cloud")

USER = {
    "kind": "user",
    "name": "backup",
    "spec": {"compartment_id": {"ref": "tenancy"}, "description": "of Atlas"},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "secrets" / "key.json"


def key(file: Path, **more: Any) -> list[dict[str, Any]]:
    spec = {"user_id": {"ref": "user"}, "secret_file": str(file)}
    return [USER, {"kind": "secret_key", "name": "backup", "spec": spec, **more}]


def keys(cloud: FakeOci) -> list[Any]:
    return list(cloud.store.of("credential"))


def test_the_secret_is_in_the_file_which_is_ours_alone(cloud, operator, file):
    operator.apply(*key(file))
    (made,) = keys(cloud)
    assert json.loads(file.read_text()) == {"id": made.id, "key": made.facts["secret"]}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["key.json"]


def test_the_secret_is_in_nothing_that_is_returned_or_shown(cloud, operator, file):
    made = operator.apply(*key(file))
    again = operator.apply(*key(file))
    secret = json.loads(file.read_text())["key"]
    for done in (made, again):
        assert secret not in repr(done)
    assert not again.changed


def test_a_check_makes_neither_key_nor_file(cloud, operator, file):
    assert operator.apply(*key(file), check=True).actions["secret_key"] == "create"
    operator.apply(USER)
    operator.apply(*key(file), check=True)
    assert keys(cloud) == []
    assert not file.parent.exists()


def test_a_key_without_its_file_is_not_replaced_silently(cloud, operator, file):
    operator.apply(*key(file))
    content = file.read_text()
    file.unlink()
    said = operator.refused(*key(file))
    assert f"{file} does not hold its secret" in said
    assert "Put the file back; or delete the key" in said
    file.write_text(content)
    assert not operator.apply(*key(file)).changed


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", "not json", '{"id": "another", "key": "x"}'])
def test_a_file_that_holds_something_else(cloud, operator, file, content):
    operator.apply(*key(file))
    file.write_text(content)
    said = operator.refused(*key(file))
    assert str(file) in said
    assert len(keys(cloud)) == 1


def test_a_key_somebody_deleted_is_made_again(cloud, operator, file):
    operator.apply(*key(file))
    (old,) = keys(cloud)
    cloud.store.remove(old)
    operator.apply(*key(file))
    (new,) = keys(cloud)
    assert json.loads(file.read_text()) == {"id": new.id, "key": new.facts["secret"]}


def test_a_key_whose_secret_cannot_be_kept_is_removed_again(cloud, operator, file):
    """Something is where the file is to be written, also for somebody who may write everywhere."""
    Path(f"{file}.new").mkdir(parents=True)
    with pytest.raises(CloudError, match=r"cannot be kept in .*The key was removed again"):
        operator.apply(*key(file))
    assert keys(cloud) == []
    Path(f"{file}.new").rmdir()
    operator.apply(*key(file))
    assert len(keys(cloud)) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="who may write everywhere is stopped by no mode")
def test_a_directory_that_cannot_be_written(cloud, operator, file):
    file.parent.mkdir(mode=0o500)
    assert "cannot be written to by this user" in operator.refused(*key(file))
    assert keys(cloud) == []


def test_a_path_through_a_file(cloud, operator, tmp_path):
    (tmp_path / "secrets").write_text("a file")
    said = operator.refused(*key(tmp_path / "secrets" / "key.json"))
    assert "cannot be read as the secret it should hold" in said


def test_a_secret_whose_answer_is_lost_is_of_no_use(cloud, operator, file):
    """Asked again with the same token, Oracle shows the key, and not its secret: another is made."""
    operator.apply(USER)
    (user,) = (row for row in cloud.store.of("user") if row.body["name"] == "backup")
    path = f"/20160918/users/{user.id}/customerSecretKeys"
    cloud.misbehave.lose_answer(1, method="POST", path=path)
    operator.apply(*key(file))
    (made,) = keys(cloud)
    assert json.loads(file.read_text()) == {"id": made.id, "key": made.facts["secret"]}


def test_removed_with_its_file(cloud, operator, file):
    operator.apply(*key(file))
    done = operator.apply(*key(file, state="absent"))
    assert done.changes == ["removed secret_key backup"]
    assert keys(cloud) == []
    assert not file.exists()


def test_a_third_key_is_one_too_many(cloud, operator: Operator, tmp_path):
    for name in ("one", "two"):
        operator.apply(*key(tmp_path / name, name=name))
    with pytest.raises(CloudError, match="The account's limit is reached"):
        operator.apply(*key(tmp_path / "three", name="three"))
    assert not (tmp_path / "three").exists()
