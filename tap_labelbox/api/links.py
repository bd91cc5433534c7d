"""Web addresses, read strictly: what is judged is what is opened.

Parsers of addresses differ where an address is not what the standards say, and the
gap between two of them is where a link to one host is judged as a link to another.
So an address is either of the plain form below, in which all parsers agree, or it is
refused; and it is opened as it was read, not as it was given.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import quote, urljoin

MAX_LINK_CHARACTERS = 32 * 1024
MAX_LABEL_CHARACTERS = 63  # of DNS
MAX_PORT = 65535

LINK = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<rest>[/?#].*)?",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,30}):", re.ASCII | re.IGNORECASE)
# Some parsers skip control characters, and some take a backslash for a slash.
AMBIGUOUS = re.compile(r"[\x00-\x1f\x7f\\]")
# A name that ends in a number is an IPv4 address to some: 2130706433, 0x7f.1, 127.1.
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII | re.IGNORECASE)
# Percent-encoded otherwise. `%` is left: what is encoded already stays as it is.
SAFE = "!$%&'()*+,/:;=?@[]~"

NAT64 = IPv6Network("64:ff9b::/96")
COMPATIBLE = IPv6Network("::/96")
THIS_NETWORK = 0  # the first byte of 0.0.0.0/8, which some systems take for loopback


class Reach(Enum):
    """From where an address can be reached."""

    PUBLIC = "public"
    PRIVATE = "private"
    LINK_LOCAL = "link-local"
    LOOPBACK = "loopback"
    NOWHERE = "reserved"
    """Multicast, reserved, unspecified: no server has such an address."""

    def allows(self, other: Reach) -> bool:
        """Return whether who answers from here may lead to an address there.

        A public service must not make this machine read what only this machine can
        reach. What is on this machine itself may be a tunnel to a private network.
        """
        if other is Reach.PUBLIC:
            return True
        if self is Reach.LOOPBACK and other is Reach.PRIVATE:
            return True
        return other is self and other is not Reach.NOWHERE


@dataclass(frozen=True)
class Link:
    """A web address in the form in which all parsers read the same."""

    scheme: str
    """``http`` or ``https``."""
    host: str
    """Lower case; an IPv6 address without its brackets."""
    port: int | None
    rest: str
    """Path and query, percent-encoded; it begins with a slash."""

    @classmethod
    def parse(cls, text: str) -> Link:
        """Parse an address.

        Raises:
            ValueError: If it is not of the plain form. The text says why, and holds
                nothing of the address that may be secret.
        """
        if len(text) > MAX_LINK_CHARACTERS:
            raise ValueError(f"has more than {MAX_LINK_CHARACTERS} characters")
        if AMBIGUOUS.search(text):
            raise ValueError("has control characters or backslashes")
        match = LINK.fullmatch(text)
        if not match:
            scheme = SCHEME.match(text)
            if scheme and scheme[1].lower() in {"http", "https"}:
                raise ValueError("has no plain host and port")
            raise ValueError(
                f"does not use https, but {scheme[1] if scheme else 'nothing'}"
            )
        host = match["host"].lower()
        port = int(match["port"]) if match["port"] else None
        if port and port > MAX_PORT:
            raise ValueError("has no plain host and port")
        asked = (match["rest"] or "").partition("#")[0]
        path, question_mark, query = asked.partition("?")
        try:
            rest = quote((path or "/") + question_mark + query, safe=SAFE)
        except UnicodeEncodeError:
            raise ValueError("has characters that UTF-8 cannot encode") from None
        return cls(match["scheme"].lower(), _host(host), port, rest)

    @property
    def authority(self) -> str:
        """Return host and port as they stand in an address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Return the whole address."""
        return f"{self.scheme}://{self.authority}{self.rest}"

    @property
    def is_loopback(self) -> bool:
        """Return whether its host is this machine, without asking DNS."""
        return literal_reach(self.host) is Reach.LOOPBACK

    def joined(self, location: str) -> Link:
        """Parse where a redirect from here leads, which may be relative.

        Raises:
            ValueError: As :meth:`parse`.
        """
        if AMBIGUOUS.search(location):  # urljoin would pass over some of these
            raise ValueError("has control characters or backslashes")
        return self.parse(urljoin(self.url, location))


def _host(host: str) -> str:
    labels = host.split(".")
    try:
        if host.startswith("["):
            return str(IPv6Address(host[1:-1]))
        if NUMBER.fullmatch(labels[-1]):
            return str(IPv4Address(host))  # four decimal numbers, nothing else
    except ValueError:
        labels = []
    if not labels or not all(0 < len(item) <= MAX_LABEL_CHARACTERS for item in labels):
        raise ValueError("has no plain host and port")
    return host


def reach(address: str) -> Reach:  # one for each kind
    """Return from where an IP address, with a zone or without, can be reached.

    An IPv4 address inside an IPv6 address is what counts: something on the way may lead
    there.

    Raises:
        ValueError: If it is no IP address.
    """
    result = ip_address(address.partition("%")[0])
    if result.is_loopback:
        return Reach.LOOPBACK
    if isinstance(result, IPv6Address) and (inner := _embedded_ipv4(result)):
        return reach(str(inner))
    if result.is_link_local:
        return Reach.LINK_LOCAL
    if getattr(result, "is_site_local", False):  # fec0::/10, before there was fc00::/7
        return Reach.PRIVATE
    is_this = result.version == 4 and result.packed[0] == THIS_NETWORK  # noqa: PLR2004
    if is_this or result.is_multicast or result.is_unspecified or result.is_reserved:
        return Reach.NOWHERE
    return Reach.PUBLIC if result.is_global else Reach.PRIVATE


def _embedded_ipv4(address: IPv6Address) -> IPv4Address | None:
    if address in NAT64 or (address in COMPATIBLE and not address.is_unspecified):
        return IPv4Address(address.packed[-4:])
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo and teredo[1])


def literal_reach(host: str) -> Reach | None:
    """Return from where a host can be reached; None if only DNS knows."""
    try:
        return Reach.LOOPBACK if host == "localhost" else reach(host)
    except ValueError:
        return None


def resolved_reaches(host: str, port: int) -> set[Reach]:
    """Return from where the addresses of a host can be reached.

    Raises:
        OSError: If the name has no address.
    """
    result = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return {reach(str(address[0])) for *_, address in result}


def shown(address: str) -> str:
    """Return host and port of an address for a message; nothing that may be secret."""
    try:
        return Link.parse(address).authority
    except ValueError:
        return "an address that cannot be read"
