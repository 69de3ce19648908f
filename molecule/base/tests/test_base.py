def test_x(host):
    assert host.check_output("hostname") == "machine"
