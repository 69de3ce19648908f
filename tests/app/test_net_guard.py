"""Nothing leads Atlas to a machine it must not speak to."""

import socket
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.net.errors import FetchError
from atlas.net.guard import Deadline, GuardedBackend, forbidden, look_up

PRIVATE = """
    0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.254 127.0.0.1 127.255.255.254 172.16.0.1
    172.31.255.255 192.0.0.1 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.7 203.0.113.9
    224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 :: ::1 ::7f00:1 ::127.0.0.1 ::8.8.8.8
    ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b::10.1.2.3 64:ff9b::8.8.8.8
    100::1 fc00::1 fd12:3456::1 fec0::1 ff02::1 ff0e::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2
    2001:2::1 2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1:: 2002:a00:1::1 2002:808:808::1 3fff::1
    4000::1 5f00::1
""".split()  # noqa: SIM905 (a table reads better than a column)
NEVER = """
    169.254.169.254 169.254.0.2 169.254.170.2 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe 64:ff9b:1::1
    64:ff9b:1:a9fe:a9:fe00:: 2002:a9fe:a9fe::1 ::a9fe:a9fe 2001:0:a9fe:a9fe:: 2001:0:1:2:3:4:5601:5601
    fe80::1 fe80::a9fe:a9fe%eth0 fd00:ec2::254 fd00:c1::a9fe:a9fe fd20:ce::254 100.100.100.200
    168.63.129.16 192.0.0.192
""".split()  # noqa: SIM905 (a table reads better than a column)
PUBLIC = """
    8.8.8.8 1.1.1.1 93.184.215.14 172.15.0.1 172.32.0.1 100.63.0.1 100.128.0.1 169.253.1.1 192.0.1.1
    198.17.0.1 198.20.0.1 223.255.255.255 ::ffff:8.8.8.8 2606:4700::1111 2a00:1450::1 2001:4860:4860::8888
    2620:4f:8000::1
""".split()  # noqa: SIM905 (a table reads better than a column)
EVERYTHING = [ip_network("0.0.0.0/0"), ip_network("::/0")]


@pytest.mark.parametrize("address", PRIVATE + NEVER)
def test_addresses_inside_our_walls_are_refused(address: str) -> None:
    assert forbidden(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_the_internet_is_open(address: str) -> None:
    assert forbidden(ip_address(address)) is None


@pytest.mark.parametrize("address", PRIVATE)
def test_a_listed_network_is_open(address: str) -> None:
    assert forbidden(ip_address(address), EVERYTHING) is None


@pytest.mark.parametrize("address", NEVER)
def test_metadata_stays_shut_whatever_is_listed(address: str) -> None:
    assert forbidden(ip_address(address), EVERYTHING)


def test_a_listed_gateway_does_not_open_what_lies_behind_it() -> None:
    gateway = [ip_network("64:ff9b::/96"), ip_network("2002::/16")]

    assert forbidden(ip_address("64:ff9b::808:808"), gateway) is None
    assert forbidden(ip_address("64:ff9b::a00:1"), gateway)
    assert forbidden(ip_address("2002:a00:1::1"), gateway)


@given(st.ip_addresses(v=4))
def test_an_address_in_ipv6_clothes_is_judged_no_milder(address: object) -> None:
    if forbidden(address):
        assert forbidden(ip_address(f"::ffff:{address}"))
    assert forbidden(ip_address(f"64:ff9b::{address}"))
    assert forbidden(ip_address(f"::{address}"))


@given(st.ip_addresses())
def test_what_python_calls_private_is_refused(address: object) -> None:
    if address.is_private or address.is_multicast or address.is_loopback or address.is_link_local:
        assert forbidden(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "0",
        "0x7f.1",
        "localhost",
        "localhost.",
        "::1",
    ],
)
def test_however_it_is_spelt_this_machine_is_refused(host: str) -> None:
    with pytest.raises(FetchError) as caught:
        _backend().connect_tcp(host, 80)

    assert caught.value.code in {"forbidden_address", "dns_failure"}, host


def test_every_answer_is_checked_and_only_good_ones_are_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as good, socket.create_server(("127.0.0.2", 0)) as bad:
        port = good.getsockname()[1]
        answers = ["169.254.169.254", "127.0.0.2", "10.0.0.1", "127.0.0.1"]
        backend = _backend(allowed=["127.0.0.1/32"], resolver=lambda _: answers)

        stream = backend.connect_tcp("mixed.test", port)

        assert stream.get_extra_info("server_addr") == ("127.0.0.1", port)
        stream.close()
        bad.settimeout(0.05)
        with pytest.raises(TimeoutError):
            bad.accept()


def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        backend = _backend(allowed=["127.0.0.0/8"], resolver=lambda _: ["127.0.0.9", "127.0.0.1"])

        stream = backend.connect_tcp("two.test", port)

        assert stream.get_extra_info("server_addr")[0] == "127.0.0.1"
        stream.close()


def test_the_refusal_says_where_the_name_leads() -> None:
    backend = _backend(resolver=lambda _: ["10.1.2.3", "fd00:ec2::254"])

    with pytest.raises(FetchError) as caught:
        backend.connect_tcp("sly.test", 80)

    assert caught.value.code == "forbidden_address"
    assert not caught.value.retry
    assert "10.1.2.3 (a private network), fd00:ec2::254 (a cloud's metadata service)" in caught.value.message


@pytest.mark.parametrize(("address", "hinted"), [("192.168.1.5", True), ("169.254.169.254", False)])
def test_the_refusal_says_how_to_allow_what_can_be_allowed(address: str, hinted: bool) -> None:
    with pytest.raises(FetchError) as caught:
        _backend(resolver=lambda _: [address]).connect_tcp("home.test", 80)

    assert ("ATLAS_ALLOWED_NETWORKS" in caught.value.message) == hinted


def test_this_machine_is_refused_also_by_its_public_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas.net.guard._is_own", lambda address: True)

    with pytest.raises(FetchError, match="this machine"):
        _backend(resolver=lambda _: ["8.8.8.8"]).connect_tcp("me.test", 80)


def test_own_addresses_are_known() -> None:
    from atlas.net.guard import _is_own

    assert _is_own(ip_address("127.0.0.1"))
    assert not _is_own(ip_address("192.0.2.1"))


@pytest.mark.parametrize(
    ("error", "code", "retry"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), "dns_failure", False),
        (socket.gaierror(socket.EAI_AGAIN, "try again"), "dns_failure", True),
        (UnicodeError("label too long"), "dns_failure", False),
    ],
)
def test_a_name_that_does_not_resolve(error: Exception, code: str, retry: bool) -> None:
    def fail(host: str) -> list[str]:
        raise error

    with pytest.raises(FetchError) as caught:
        _backend(resolver=fail).connect_tcp("nowhere.invalid", 80)

    assert (caught.value.code, caught.value.retry) == (code, retry)


def test_a_name_without_addresses() -> None:
    with pytest.raises(FetchError, match=r"no site called empty\.test"):
        _backend(resolver=lambda _: []).connect_tcp("empty.test", 80)


def test_a_resolver_that_hangs_does_not_hold_us() -> None:
    import threading

    release = threading.Event()

    def hang(host: str) -> list[str]:
        release.wait(20)
        return []

    with pytest.raises(FetchError, match="took too long"):
        _backend(resolver=hang, seconds=0.2).connect_tcp("slow.test", 80)
    release.set()


def _backend(*, allowed: list[str] | None = None, resolver=look_up, seconds: float = 5) -> GuardedBackend:
    return GuardedBackend(
        allowed=[ip_network(network) for network in allowed or []],
        deadline=Deadline(seconds),
        connect_timeout=1,
        resolver=resolver,
    )
