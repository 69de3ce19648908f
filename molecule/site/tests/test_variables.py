import pytest


@pytest.mark.parametrize(
    ("variable", "complaint"),
    [
        ('{"atlas_ready_seconds": "soon"}', "atlas_ready_seconds"),
        ('{"nginx_htpaswd_users": []}', "nginx_htpasswd_users"),
    ],
)
@pytest.mark.timeout(300)
def test_a_wrong_variable_stops_the_play_before_it_changes_anything(play, variable, complaint):
    stopped = play("--extra-vars", variable)
    assert not stopped.succeeded
    assert "Nothing was changed" in stopped.output
    assert complaint in stopped.output
    assert stopped.changes == {}
