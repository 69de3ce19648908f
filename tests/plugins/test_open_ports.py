"""The list of open ports, as the firewalls of a machine want it."""

import pytest
from ansible.errors import AnsibleFilterError
from open_ports import iptables_rules, nftables_rules, open_ports_problems

SSH = {"port": 22, "protocol": "tcp", "purpose": "SSH", "sources": ["198.51.100.7/32", "2001:db8::/32"]}
WEB = {"port": 443, "purpose": "HTTPS"}
IMAGE = """\
# CLOUD_IMG: as Oracle's image has it

*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [463:49013]
:InstanceServices - [0:0]
-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p udp --sport 123 -j ACCEPT
-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT
-A INPUT -j REJECT --reject-with icmp-host-prohibited
-A INPUT -p tcp --dport 8080 -j ACCEPT
-A FORWARD -j REJECT --reject-with icmp-host-prohibited
-A OUTPUT -d 169.254.0.0/16 -j InstanceServices
-A InstanceServices -d 169.254.0.2/32 -p tcp -m owner --uid-owner 0 -m tcp --dport 3260 -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p tcp --dport 25 -j REDIRECT --to-ports 2525
COMMIT
"""


def test_nftables_tells_the_kinds_of_addresses_apart():
    assert nftables_rules([SSH, WEB]) == [
        'ip saddr { 198.51.100.7/32 } tcp dport 22 accept comment "SSH"',
        'ip6 saddr { 2001:db8::/32 } tcp dport 22 accept comment "SSH"',
        'tcp dport 443 accept comment "HTTPS"',
    ]


@pytest.mark.parametrize("sources", [{}, {"sources": []}, {"sources": None}])
def test_without_sources_a_port_is_open_to_all(sources):
    assert nftables_rules([{"port": 80, "purpose": "", **sources}]) == ['tcp dport 80 accept comment ""']
    assert "-A INPUT -p tcp -m tcp --dport 80 " in iptables_rules("", [{"port": 80, **sources}])


def test_a_purpose_cannot_end_the_comment():
    (rule,) = nftables_rules([{"port": 1, "purpose": 'a" accept; drop # ' + "x" * 200}])
    assert rule.startswith('tcp dport 1 accept comment "a accept drop  xxx')
    assert rule.count('"') == 2
    assert len(rule) < 140


def test_oracles_rules_stay_word_for_word_but_for_what_comes_in():
    made = iptables_rules(IMAGE, [SSH, WEB])
    others = [line for line in IMAGE.splitlines() if "INPUT " not in line]
    assert [line for line in made.splitlines() if "INPUT " not in line] == others
    coming_in = [line for line in made.splitlines() if line.startswith("-A INPUT")]
    assert coming_in[-3:] == [
        '-A INPUT -s 198.51.100.7/32 -p tcp -m tcp --dport 22 -m comment --comment "SSH" -j ACCEPT',
        '-A INPUT -p tcp -m tcp --dport 443 -m comment --comment "HTTPS" -j ACCEPT',
        "-A INPUT -j REJECT --reject-with icmp-host-prohibited",
    ]
    assert not [line for line in coming_in if "8080" in line or "--sport 123" in line]
    lines = made.splitlines()
    assert lines.index(":InstanceServices - [0:0]") < lines.index(coming_in[0])
    assert lines.index(coming_in[-1]) < lines.index("COMMIT")


def test_a_second_run_changes_nothing():
    once = iptables_rules(IMAGE, [SSH, WEB], interfaces=["podman*"], log=True)
    assert iptables_rules(once, [SSH, WEB], interfaces=["podman*"], log=True) == once
    assert "-A INPUT -i podman+ -j ACCEPT" in once
    assert once.index("-j LOG") < once.index("-j REJECT")


def test_ipv6_from_nothing():
    made = iptables_rules("", [SSH, WEB], 6)
    assert "-A INPUT -s 2001:db8::/32 -p tcp -m tcp --dport 22" in made
    assert "-A INPUT -p ipv6-icmp -j ACCEPT" in made
    assert made.splitlines()[-2:] == ["-A INPUT -j REJECT --reject-with icmp6-adm-prohibited", "COMMIT"]


def test_a_file_with_other_tables_only_gets_one():
    nat = "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n"
    made = iptables_rules(nat, [WEB])
    assert made.startswith(nat)
    assert "*filter" in made


def test_half_a_file_is_refused():
    with pytest.raises(AnsibleFilterError, match="without COMMIT"):
        iptables_rules("*filter\n:INPUT ACCEPT [0:0]\n", [WEB])


@pytest.mark.parametrize(
    ("port", "words"),
    [
        ({"port": 0}, "0 is no port"),
        ({"port": "ssh"}, "'ssh' is no port"),
        ({"port": 1, "protocol": "icmp"}, "'icmp', not tcp or udp"),
        ({"port": 1, "sources": ["198.51.100.7/24"]}, "has host bits set"),
        ({"port": 1, "sources": ["home"]}, "is no network"),
    ],
)
def test_what_is_wrong_is_said(port, words):
    assert [words in problem for problem in open_ports_problems([port, WEB])] == [True]
    for write in (nftables_rules, lambda ports: iptables_rules("", ports)):
        with pytest.raises(AnsibleFilterError, match=words):
            write([port])
