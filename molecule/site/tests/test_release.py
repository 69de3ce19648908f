"""A release that does not serve is taken back, and the play says why."""

import pytest


@pytest.mark.timeout(600)
def test_a_broken_release_is_rolled_back_and_the_play_says_why(host, library, play, repository):
    serve = repository / "app" / "atlas" / "commands" / "serve.py"
    serve.write_text('raise RuntimeError("broken on purpose")\n')
    before = host.check_output("readlink /opt/atlas/current")
    stopped = play(repository=repository)
    assert not stopped.succeeded
    assert "broken on purpose" in stopped.output, stopped.output
    assert "serves again" in stopped.output, stopped.output
    assert host.check_output("readlink /opt/atlas/current") == before
    assert library.client.get("/ready").status_code == 200
    again = play()
    assert again.succeeded, again.output
    assert host.check_output("readlink /opt/atlas/current") == before
