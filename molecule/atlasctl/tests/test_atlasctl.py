import json

CHECK = {"check": "unit", "title": "Victim", "unit": "victim.service", "restart": True}


def status(host):
    return json.loads(host.file("/var/lib/atlas-status/status.json").content_string)


def test_placeholder(host):
    assert status(host)
