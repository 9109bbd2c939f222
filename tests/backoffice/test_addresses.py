import pytest

from backoffice.addresses import client_address, counted_as, origin_address

PROXIES = ("10.0.0.0/8", "::1")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("203.0.113.7", "", "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("::1", "2001:db8::7", "2001:db8::7"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", " , ", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, nonsense", "10.0.0.1"),
        ("10.0.0.1", "nonsense, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "nonsense, 10.0.0.2", "10.0.0.2"),
        ("", "198.51.100.1", ""),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
    ],
)
def test_origin_address_believes_only_what_trusted_proxies_vouch_for(peer, forwarded_for, address):
    assert origin_address(peer, forwarded_for, PROXIES) == address


def test_origin_address_believes_no_header_without_trusted_proxies():
    assert origin_address("10.0.0.1", "198.51.100.1", ()) == "10.0.0.1"


def test_client_address_reads_a_django_request(rf, settings):
    settings.BOOSTER_TRUSTED_PROXIES = ["127.0.0.1"]

    request = rf.get("/", REMOTE_ADDR="127.0.0.1", headers={"X-Forwarded-For": "203.0.113.7"})

    assert client_address(request) == "203.0.113.7"


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::9", "2001:db8:1:2::"),
        ("2001:db8:1:3::9", "2001:db8:1:3::"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_limits_count_a_caller_once_whichever_of_its_addresses_it_uses(address, counted):
    assert counted_as(address) == counted
