"""Web addresses: what is judged is what is opened."""

from __future__ import annotations

import pytest

from tap_labelbox.api.links import Link, Reach, literal_reach, reach, shown


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://Files.Test/a?b=c#d", "https://files.test/a?b=c"),
        ("HTTPS://files.test", "https://files.test/"),
        ("https://files.test?b=c", "https://files.test/?b=c"),
        ("https://files.test:8443/ä b", "https://files.test:8443/%C3%A4%20b"),
        ("https://files.test/%2F%zz", "https://files.test/%2F%zz"),
        ("http://[0:0::1]:80/", "http://[::1]:80/"),
        ("https://127.0.0.1/", "https://127.0.0.1/"),
        ("https://files.test:65535/", "https://files.test:65535/"),
    ],
)
def test_a_plain_address_has_one_form(text: str, url: str) -> None:
    """That form is itself such an address."""
    assert Link.parse(text).url == url
    assert Link.parse(url).url == url


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "does not use https"),
        ("ftp://files.test/", "ftp"),
        ("//files.test/", "nothing"),
        ("https://me:secret@files.test/", "no plain host"),
        ("https://files.test:0/", "no plain host"),
        ("https://files.test:65536/", "no plain host"),
        ("https://files..test/", "no plain host"),
        (f"https://{'a' * 64}.test/", "no plain host"),
        ("https://2130706433/", "no plain host"),
        ("https://0x7f.1/", "no plain host"),
        ("https://127.1/", "no plain host"),
        ("https://[::1%25lo]/", "no plain host"),
        ("https://files.test\\@evil.test/", "backslashes"),
        ("https://files.test/\n", "control characters"),
        ("https://files.test/\ud800", "characters that UTF-8 cannot encode"),
        ("https://files.test/" + "a" * 33_000, "more than 32768 characters"),
    ],
)
def test_an_address_that_parsers_disagree_on_is_refused(text: str, why: str) -> None:
    """With a reason that holds nothing of it."""
    with pytest.raises(ValueError, match=why) as raised:
        Link.parse(text)

    assert "secret" not in str(raised.value)
    assert shown(text) == "an address that cannot be read"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", Reach.PUBLIC),
        ("2001:4860:4860::8888", Reach.PUBLIC),
        ("10.0.0.1", Reach.PRIVATE),
        ("100.64.0.1", Reach.PRIVATE),
        ("fd00::1", Reach.PRIVATE),
        ("fec0::1", Reach.PRIVATE),
        ("169.254.169.254", Reach.LINK_LOCAL),
        ("fe80::1%eth0", Reach.LINK_LOCAL),
        ("127.8.8.8", Reach.LOOPBACK),
        ("::1", Reach.LOOPBACK),
        ("0.1.2.3", Reach.NOWHERE),
        ("224.0.0.1", Reach.NOWHERE),
        ("240.0.0.1", Reach.NOWHERE),
        ("::", Reach.NOWHERE),
        ("::ffff:127.0.0.1", Reach.LOOPBACK),
        ("64:ff9b::a00:1", Reach.PRIVATE),
        ("::10.0.0.1", Reach.PRIVATE),
        ("2002:7f00:1::", Reach.LOOPBACK),
    ],
)
def test_an_address_is_reached_from_somewhere(address: str, expected: Reach) -> None:
    """An IPv4 address within an IPv6 address is what counts."""
    assert reach(address) is expected


def test_names_are_left_to_dns() -> None:
    """But for the one of this machine."""
    assert literal_reach("localhost") is Reach.LOOPBACK
    assert literal_reach("files.test") is None
    assert Link.parse("http://localhost/").is_loopback
    assert not Link.parse("https://files.test/").is_loopback


@pytest.mark.parametrize("origin", Reach)
def test_who_may_lead_where(origin: Reach) -> None:
    """Never from further away to nearer."""
    allowed = {other for other in Reach if origin.allows(other)}

    expected = {Reach.PUBLIC, origin} - {Reach.NOWHERE}
    if origin is Reach.LOOPBACK:  # which may be a tunnel
        expected.add(Reach.PRIVATE)
    assert allowed == expected


def test_a_redirect_may_be_relative() -> None:
    """And is parsed as strictly."""
    link = Link.parse("https://files.test:8443/a/b?c")

    assert link.joined("d").url == "https://files.test:8443/a/d"
    assert link.joined("//other.test/x").url == "https://other.test/x"
    for location in ("http://\tevil.test/", "ftp://files.test/"):
        with pytest.raises(ValueError, match=r"control|ftp"):
            link.joined(location)
