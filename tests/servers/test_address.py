import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.address import normal_url, origin_of


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("https://central.example/openbravo", "https://central.example/openbravo"),
        ("HTTPS://Central.Example/Openbravo/", "https://central.example/Openbravo"),
        ("  http://central.example  ", "http://central.example"),
        ("http://central.example:80/openbravo", "http://central.example/openbravo"),
        ("https://central.example:443/", "https://central.example"),
        ("http://central.example:443", "http://central.example:443"),
        ("https://central.example:8443/a/b//", "https://central.example:8443/a/b"),
        ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
        ("http://[2001:DB8::1]:8080/openbravo", "http://[2001:db8::1]:8080/openbravo"),
        ("http://central.example:/openbravo", "http://central.example/openbravo"),
    ],
)
def test_normal_url_gives_one_form(text, normal):
    assert normal_url(text) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "central.example/openbravo",
        "//central.example",
        "ftp://central.example",
        "javascript:alert(1)",
        "https://",
        "https:///openbravo",
        "https://:443/openbravo",
        "https://user@central.example",
        "https://user:secret@central.example",
        "https://@central.example",
        "https://central.example?x=1",
        "https://central.example/?",
        "https://central.example/#top",
        "https://central.example#",
        "https://central example/",
        "https://central.example/a b",
        "https://central.example/a\tb",
        "https://central.example/a\nb",
        "https://central.example\\evil.example",
        "https://central.example:0",
        "https://central.example:65536",
        "https://central.example:port",
        "https://-central.example",
        "https://central..example",
        "https://central_main.example",
        "https://[::1",
        "https://[nonsense]/",
        "https://cent\u0000ral.example",
        "https://centr\u00e1l.example",
    ],
)
def test_normal_url_refuses_what_is_no_plain_http_address(text):
    with pytest.raises(ValueError, match=r"\w"):
        normal_url(text)


hosts = st.from_regex(r"[A-Za-z0-9]{1,8}(-[a-z0-9]{1,4})?(\.[A-Za-z]{2,5}){0,2}", fullmatch=True)
addresses = st.builds(
    lambda scheme, host, port, path: f"{scheme}://{host}{port}{path}",
    st.sampled_from(["http", "https", "HTTP", "Https"]),
    hosts | st.sampled_from(["[::1]", "[2001:DB8::A]", "127.0.0.1"]),
    st.just("") | st.integers(1, 65_535).map(lambda port: f":{port}"),
    st.text(string.ascii_letters + string.digits + "/._-~%é", max_size=20).map(lambda path: f"/{path}" if path else ""),
)


@given(addresses)
def test_normal_url_is_idempotent_and_keeps_the_place(text):
    normal = normal_url(text)

    assert normal_url(normal) == normal
    assert not normal.endswith("/")
    assert normal.startswith(origin_of(normal))
    assert origin_of(normal) == origin_of(normal).lower()


@given(st.text(max_size=40) | st.text(max_size=30).map(lambda rest: f"https://{rest}"))
def test_normal_url_answers_any_text_with_an_address_or_a_reason(text):
    try:
        normal = normal_url(text)
    except ValueError:
        return
    assert normal_url(normal) == normal


def test_origin_of_is_what_browsers_send():
    assert origin_of("https://central.example:8443/openbravo") == "https://central.example:8443"
