"""Calls to addresses that somebody typed in, against real servers on this machine."""

import datetime
import ipaddress
import socket
import ssl
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from backoffice import outbound
from backoffice.outbound import (
    AddressRefused,
    BadAnswer,
    CertificateProblem,
    ConnectionFailed,
    NameNotFound,
    NoAnswer,
    Policy,
    call,
    check_url,
    refusal,
)
from tests.answering import OK, dripping, saying, serving

LOCAL = Policy(loopback=True)


def make_certificate(directory, *names):
    """Make a self-signed certificate for names or addresses; return its file and a server's context."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    alternatives = [
        x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = directory / "certificate.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = directory / "key.pem"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context


@pytest.fixture
def names(monkeypatch):
    """Let names lead to the addresses a test gives; every look-up takes the next list, the last one stays."""
    known = {}
    real = socket.getaddrinfo

    def look_up(host, port, *args, **kwargs):
        if host in known:
            answers = known[host]
            addresses = answers.pop(0) if len(answers) > 1 else answers[0]
            return [entry for address in addresses for entry in real(address, port, type=socket.SOCK_STREAM)]
        if host.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, port, *args, **kwargs)

    monkeypatch.setattr(outbound.socket, "getaddrinfo", look_up)
    return known


def test_call_returns_status_body_and_time():
    with serving(saying(OK)) as (port, requests):
        answer = call("GET", f"http://127.0.0.1:{port}/ping?x=1", timeout_s=5, policy=LOCAL)

    assert (answer.status, answer.body, answer.is_cut) == (200, b"hello", False)
    assert 0 <= answer.took_ms < 5000
    assert requests[0].splitlines()[:2] == ["GET /ping?x=1 HTTP/1.1", f"Host: 127.0.0.1:{port}"]


def test_call_sends_headers_and_content():
    with serving(saying(OK)) as (port, requests):
        call("POST", f"http://127.0.0.1:{port}/", timeout_s=5, policy=LOCAL, headers={"X-Extra": "1"}, content=b"{}")

    assert "\r\nX-Extra: 1\r\n" in requests[0]
    assert "\r\nContent-Length: 2\r\n" in requests[0]


def test_call_returns_a_redirect_and_does_not_follow_it():
    with serving(saying(OK)) as (there, led):
        moved = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{there}/\r\nContent-Length: 0\r\n\r\n".encode()
        with serving(saying(moved)) as (port, _):
            answer = call("GET", f"http://127.0.0.1:{port}/", timeout_s=5, policy=LOCAL)

    assert (answer.status, led) == (302, [])


def test_call_uses_no_proxy_of_the_environment(monkeypatch):
    with serving(saying(OK)) as (proxy, asked), serving(saying(OK)) as (port, requests):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        call("GET", f"http://127.0.0.1:{port}/", timeout_s=5, policy=LOCAL)

    assert (len(requests), asked) == (1, [])


def test_call_cuts_a_huge_body():
    huge = b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 500_000

    with serving(saying(huge)) as (port, _):
        answer = call("GET", f"http://127.0.0.1:{port}/", timeout_s=5, policy=LOCAL, max_bytes=1000)

    assert (answer.body, answer.is_cut) == (b"x" * 1000, True)


@pytest.mark.parametrize(
    "data",
    [OK, b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + b"x" * 900, b"HTTP/1.1 100 Continue\r\n\r\n" * 99],
    ids=["head", "body", "interim answers"],
)
def test_a_server_that_drips_is_left_when_the_time_is_over(data):
    begun = time.monotonic()

    with serving(dripping(data)) as (port, _), pytest.raises(NoAnswer) as refused:
        call("GET", f"http://127.0.0.1:{port}/", timeout_s=0.5, policy=LOCAL)

    assert str(refused.value) == "No answer from 127.0.0.1 within 0.5 s."
    assert 0.5 <= time.monotonic() - begun < 2
    assert 500 <= refused.value.took_ms < 2000


def test_a_server_that_never_ends_its_handshake_is_left_when_the_time_is_over():
    with serving(lambda connection, stopped: stopped.wait(5)) as (port, _), pytest.raises(NoAnswer):
        call("GET", f"https://127.0.0.1:{port}/", timeout_s=0.3, policy=LOCAL)


def test_a_resolver_that_does_not_answer_is_left_when_the_time_is_over(monkeypatch):
    monkeypatch.setattr(outbound.socket, "getaddrinfo", lambda *args, **kwargs: time.sleep(2))

    with pytest.raises(NoAnswer, match=r"The name slow\.example could not be looked up within 0\.2 s\."):
        call("GET", "http://slow.example/", timeout_s=0.2, policy=LOCAL)


def test_what_does_not_speak_http_is_said():
    with serving(saying(b"220 mail.example ESMTP\r\n")) as (port, _), pytest.raises(BadAnswer, match="not HTTP"):
        call("GET", f"http://127.0.0.1:{port}/", timeout_s=5, policy=LOCAL)


def test_a_closed_port_refuses_the_connection():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    with pytest.raises(ConnectionFailed, match=r"^127\.0\.0\.1 refused the connection\.$"):
        call("GET", f"http://127.0.0.1:{port}/", timeout_s=5, policy=LOCAL)


def test_an_unknown_name_is_said(names):
    with pytest.raises(NameNotFound, match=r"^The host name nowhere\.invalid was not found\.$"):
        call("GET", "https://nowhere.invalid/", timeout_s=5, policy=LOCAL)


# --- TLS ---


def test_a_self_signed_certificate_is_refused(tmp_path):
    _, context = make_certificate(tmp_path, "127.0.0.1")

    with serving(saying(OK), tls=context) as (port, requests), pytest.raises(CertificateProblem) as refused:
        call("GET", f"https://127.0.0.1:{port}/", timeout_s=5, policy=LOCAL)

    assert str(refused.value) == "The certificate of 127.0.0.1 was refused: self-signed certificate."
    assert requests == []


def test_the_certificate_must_name_the_host_and_not_the_address_that_is_called(tmp_path, names, monkeypatch):
    trusted, context = make_certificate(tmp_path, "hooks.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    names["hooks.example"] = names["other.example"] = [["127.0.0.1"]]

    with serving(saying(OK), tls=context) as (port, requests):
        answer = call("GET", f"https://hooks.example:{port}/", timeout_s=5, policy=LOCAL)
        with pytest.raises(CertificateProblem, match=r"The certificate of other\.example was refused: Hostname"):
            call("GET", f"https://other.example:{port}/", timeout_s=5, policy=LOCAL)

    assert answer.status == 200
    assert f"\r\nHost: hooks.example:{port}\r\n" in requests[0]
    assert len(requests) == 1


def test_plain_http_where_tls_is_expected_is_said():
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        connection, _ = listener.accept()
        with connection:
            connection.recv(10)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    threading.Thread(target=answer, daemon=True).start()

    with listener, pytest.raises(CertificateProblem, match=r"There is no TLS connection to 127\.0\.0\.1: "):
        call("GET", f"https://127.0.0.1:{listener.getsockname()[1]}/", timeout_s=5, policy=LOCAL)


# --- Which addresses may be called ---

ALLOWED = Policy(loopback=True, private=True)


@pytest.mark.parametrize(
    ("address", "by_default", "when_all_is_allowed"),
    [
        ("93.184.216.34", "", ""),
        ("2606:2800:220:1::1", "", ""),
        ("64:ff9b::5db8:d822", "", ""),
        ("127.0.0.1", "an address of this machine itself", ""),
        ("127.9.9.9", "an address of this machine itself", ""),
        ("::1", "an address of this machine itself", ""),
        ("::ffff:127.0.0.1", "an address of this machine itself", ""),
        ("64:ff9b::7f00:1", "an address of this machine itself", ""),
        ("::127.0.0.1", "an address of this machine itself", ""),
        ("2002:7f00:1::", "an address of this machine itself", ""),
        ("10.1.2.3", "a private address", ""),
        ("172.31.255.255", "a private address", ""),
        ("192.168.0.1", "a private address", ""),
        ("100.64.0.1", "a private address", ""),
        ("fd12::1", "a private address", ""),
        ("::ffff:10.0.0.1", "a private address", ""),
        ("64:ff9b:1::a00:1", "a private address", ""),
        ("fd12::1%7", "a private address", ""),
        ("fd00:ec2::254%7", "an address of a cloud's metadata", "an address of a cloud's metadata"),
        *(
            (address, reason, reason)
            for address, reason in (
                ("0.0.0.0", "the unspecified address"),
                ("::", "the unspecified address"),
                ("::ffff:0.0.0.0", "the unspecified address"),
                ("169.254.169.254", "a link-local address"),
                ("::ffff:169.254.169.254", "a link-local address"),
                ("64:ff9b::a9fe:a9fe", "a link-local address"),
                ("fe80::1", "a link-local address"),
                ("fe80::1%eth0", "a link-local address"),
                ("fd00:ec2::254", "an address of a cloud's metadata"),
                ("100.100.100.200", "an address of a cloud's metadata"),
                ("224.0.0.1", "a multicast address"),
                ("ff02::1", "a multicast address"),
                ("255.255.255.255", "a reserved address"),
                ("240.0.0.1", "a reserved address"),
                ("0.1.2.3", "a reserved address"),
                ("192.0.2.1", "a reserved address"),
                ("198.18.0.1", "a reserved address"),
                ("2001:db8::1", "a reserved address"),
                ("2001:0:1::1", "a reserved address"),
                ("fec0::1", "a reserved address"),
            )
        ),
    ],
)
def test_refusal_names_why_an_address_may_not_be_called(address, by_default, when_all_is_allowed):
    parsed = ipaddress.ip_address(address)

    assert (refusal(parsed, Policy()), refusal(parsed, ALLOWED)) == (by_default, when_all_is_allowed)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f000001", "127.1", "[::1]", "[::ffff:7f00:1]", "localhost"],
)
def test_call_refuses_this_machine_however_it_is_spelt(host):
    with serving(saying(OK)) as (port, requests), pytest.raises(AddressRefused, match="this machine itself"):
        call("GET", f"http://{host}:{port}/", timeout_s=5, policy=Policy(private=True))

    assert requests == []


def test_call_reaches_this_machine_by_ipv6_when_that_is_allowed():
    with serving(saying(OK), host="::1", family=socket.AF_INET6) as (port, requests):
        answer = call("GET", f"http://[::1]:{port}/", timeout_s=5, policy=LOCAL)

    assert answer.status == 200
    assert f"\r\nHost: [::1]:{port}\r\n" in requests[0]


def test_a_name_of_which_one_address_is_forbidden_is_refused_whole(names):
    names["mixed.example"] = [["93.184.216.34", "10.0.0.1"]]

    with pytest.raises(AddressRefused) as refused:
        call("GET", "http://mixed.example/", timeout_s=5, policy=Policy())

    assert str(refused.value) == "mixed.example leads to 10.0.0.1, a private address, which may not be called."


def test_the_connection_goes_to_the_address_that_was_checked_whatever_the_name_says_next(names):
    names["rebind.example"] = [["127.0.0.1"], ["127.0.0.2"]]

    with serving(saying(OK)) as (port, requests):
        answer = call("GET", f"http://rebind.example:{port}/", timeout_s=5, policy=LOCAL)

    assert answer.status == 200
    assert names["rebind.example"] == [["127.0.0.2"]]
    assert f"\r\nHost: rebind.example:{port}\r\n" in requests[0]


def test_the_next_address_is_tried_when_the_first_one_refuses(names):
    names["two.example"] = [["127.0.0.3", "127.0.0.1"]]

    with serving(saying(OK)) as (port, _):
        answer = call("GET", f"http://two.example:{port}/", timeout_s=5, policy=LOCAL)

    assert answer.status == 200


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example/x",
        "ftp://hooks.example",
        "file:///etc/passwd",
        "http://",
        "https://[::1",
        "http://x\ny/",
        "http://xn--/",
        "http://8.8.8.8:0/",
        "http://8.8.8.8:65536/",
        "http://8.8.8.8:-1/",
    ],
)
def test_what_is_no_web_address_is_refused(url):
    with pytest.raises(AddressRefused):
        call("GET", url, timeout_s=1, policy=ALLOWED)
    with pytest.raises(AddressRefused):
        check_url(url, ALLOWED)


@pytest.mark.parametrize("host", ["10.0.0.1", "2130706433", "127.1", "[::1]", "localhost", "LOCALHOST.", "[fd00::1]"])
def test_check_url_refuses_literal_addresses_without_asking_the_resolver(host, names, monkeypatch):
    monkeypatch.setattr(outbound.socket, "getaddrinfo", None)

    with pytest.raises(AddressRefused):
        check_url(f"https://{host}/hook", Policy())
    check_url(f"https://{host}/hook", ALLOWED)
    check_url("https://hooks.example/hook", Policy())
