"""The proxy on the way to an address, as the environment has it."""

from __future__ import annotations

import re
from contextlib import suppress

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
            "host, percent-encode all but letters and digits"
        )
        raise SettingsError(msg) from None


def api_proxy(address: str) -> str | None:
    """Return the same, as :func:`proxy` does, for an address that the key is sent to.

    None for this machine without TLS: a proxy would see all that is sent to it.
    """
    with suppress(ValueError):
        link = Link.parse(address)
        if link.scheme == "http" and link.is_loopback:
            return None
    return proxy(address)
