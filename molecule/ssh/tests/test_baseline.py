"""dev-sec's ssh-baseline for servers, restated: its control ids, and where our value is another one, why.

What it only wants of OpenSSH before 7.5 (sshd-10, 15 and 16) no supported system has any more.
"""

import pytest

# As `sshd -T` tells them.
AS_WANTED = {
    "sshd-06": ("permitrootlogin", {"no", "without-password", "prohibit-password"}),
    "sshd-07": ("port", {"22"}),
    "sshd-08": ("addressfamily", {"any", "inet", "inet6"}),
    "sshd-11": ("strictmodes", {"yes"}),
    "sshd-12": ("syslogfacility", {"AUTH"}),
    "sshd-13": ("loglevel", {"VERBOSE"}),
    "sshd-17": ("permituserenvironment", {"no"}),
    "sshd-18": ("logingracetime", {"30"}),
    "sshd-20": ("maxsessions", {"10"}),
    "sshd-22": ("pubkeyauthentication", {"yes"}),
    "sshd-23": ("ignorerhosts", {"yes"}),
    "sshd-24": ("ignoreuserknownhosts", {"yes"}),
    "sshd-25": ("hostbasedauthentication", {"no"}),
    "sshd-27": ("passwordauthentication", {"no"}),
    "sshd-28": ("permitemptypasswords", {"no"}),
    "sshd-29": ("kbdinteractiveauthentication", {"no"}),
    "sshd-30": ("kerberosauthentication", {"no"}),
    "sshd-31": ("kerberosorlocalpasswd", {"no"}),
    "sshd-32": ("kerberosticketcleanup", {"yes"}),
    "sshd-33": ("gssapiauthentication", {"no"}),
    "sshd-34": ("gssapicleanupcredentials", {"yes"}),
    "sshd-35": ("tcpkeepalive", {"no"}),
    "sshd-38": ("permittunnel", {"no"}),
    "sshd-40": ("allowagentforwarding", {"no"}),
    "sshd-41": ("gatewayports", {"no"}),
    "sshd-42": ("x11forwarding", {"no"}),
    "sshd-43": ("x11uselocalhost", {"yes"}),
    "sshd-44": ("printmotd", {"no"}),
    "sshd-46": ("banner", {"none"}),
}
# (directive, what is as good, why)
AS_GOOD = {
    "sshd-19": ("maxauthtries", {"3"}, "two is one key too few for who has two"),
    "sshd-21": ("maxstartups", {"10:30:60"}, "it wants 10:30:100, which lets more strangers wait"),
    "sshd-36": ("clientaliveinterval", {"60"}, "it wants 300: ours notices sooner"),
    "sshd-37": ("clientalivecountmax", {"2"}, "it wants 3: ours gives up sooner"),
}
# (directive, our value, why not)
NOT_FOLLOWED = {
    "sshd-39": (
        "allowtcpforwarding",
        {"local"},
        "tunnels to what listens on the machine are how its owner sees it",
    ),
    "sshd-45": ("printlastlog", {"yes"}, "who sees when he was here last notices when it was somebody else"),
}
# What the baseline lists for OpenSSH 8 and later, and what has been added to OpenSSH since.
KEX = {
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
}
CIPHERS = {
    "chacha20-poly1305@openssh.com",
    *(f"aes{bits}-{mode}" for bits in (128, 192, 256) for mode in ("ctr", "gcm@openssh.com")),
}
MACS = {f"{mac}-etm@openssh.com" for mac in ("hmac-sha2-512", "hmac-sha2-256", "umac-128")}
SETTINGS = {
    **AS_WANTED,
    **{control: rule[:2] for control, rule in (AS_GOOD | NOT_FOLLOWED).items()},
}


@pytest.fixture(scope="module")
def settings(host):
    """What sshd has read; of a directive with several values, all."""
    found: dict[str, list[str]] = {}
    for line in host.check_output("sshd -T -C user=root,host=h,addr=192.0.2.1").splitlines():
        name, _, value = line.partition(" ")
        found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("control", SETTINGS)
def test_settings(settings, control):
    directive, allowed = SETTINGS[control]
    assert set(settings[directive]) <= allowed


@pytest.mark.parametrize(
    ("directive", "allowed"),
    [("ciphers", CIPHERS), ("kexalgorithms", KEX), ("macs", MACS)],
    ids=["sshd-01", "sshd-02", "sshd-03"],
)
def test_algorithms_are_of_its_lists(settings, directive, allowed):
    assert set(settings[directive][0].split(",")) <= allowed


def test_sshd_04_and_05_files_are_roots(host):
    directory, file = host.file("/etc/ssh"), host.file("/etc/ssh/sshd_config")
    assert (directory.user, directory.group, directory.mode) == ("root", "root", 0o755)
    assert (file.user, file.group, file.mode) == ("root", "root", 0o600)


def test_sshd_09_it_says_where_it_listens(settings):
    """On all addresses, as those of a rented machine change; the firewall says from where."""
    assert set(settings["listenaddress"]) == {"0.0.0.0:22", "[::]:22"}


def test_sshd_14_host_keys_are_ed25519_and_rsa(settings):
    assert settings["hostkey"] == ["/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_rsa_key"]


def test_sshd_47_the_version_does_not_name_the_distribution(host):
    greeting = host.check_output(
        "python3 -c 'import socket; print(socket.create_connection((\"127.0.0.1\", 22), 10).recv(100))'"
    )
    assert "OpenSSH" in greeting
    assert "Debian" not in greeting


def test_sshd_48_no_small_primes_are_used(settings):
    """The file of primes is the distribution's; no algorithm that reads it is offered."""
    assert not [name for name in settings["kexalgorithms"][0].split(",") if name.startswith("diffie-hellman")]


def test_nineteen_of_twenty_are_as_wanted_or_as_good():
    by_hand = 9  # the tests above that are not in a table
    assert len(NOT_FOLLOWED) / (len(SETTINGS) + by_hand) <= 0.05
