"""Part of every scenario."""

import pytest


@pytest.mark.timeout(300)
def test_a_check_of_the_converged_machine_reports_nothing(play):
    checked = play("--check", "--diff")
    assert checked.succeeded, checked.output
    assert checked.changes == {}, checked.output
