"""The proxy on the way to an address, as the environment has it."""

from __future__ import annotations

import re

from requests.utils import get_environ_proxies, select_proxy

from tap_labelbox.api.errors import SettingsError
from tap_labelbox.api.links import Link


def proxy(address: str) -> str | None:
    """Return host and port of the proxy on the way to an address, if there is one.

    Raises:
        SettingsError: If the environment names one that no request can use.
    """
    name = select_proxy(address, get_environ_proxies(address, no_proxy=None))
    if not name:
        return None
    # What requests takes: a scheme is not needed, and a password may have an @.
    scheme, mark, rest = name.rpartition("://")
    host = rest.rpartition("@")[2].rstrip("/")
    # A slash, a question mark or a hash ends the password for requests.
    is_torn = re.search(r"[/?#\\]", rest.rpartition("@")[0])
    if is_torn or (mark and not scheme.isalnum()):
        host = ""
    try:
        return Link.parse(f"https://{host}").authority
    except ValueError:
        msg = (
            "the proxy in the environment (HTTPS_PROXY, HTTP_PROXY or ALL_PROXY) is no "
            "address such as http://host:port: in a user and password before the "
            "host, percent-encode what is no letter or digit"
        )
        raise SettingsError(msg) from None


def is_plain_loopback(address: str) -> bool:
    """Return whether an address is on this machine and without TLS.

    It is reached without a proxy, which would see all that is sent to it.
    """
    try:
        link = Link.parse(address)
    except ValueError:
        return False
    return link.scheme == "http" and link.is_loopback
