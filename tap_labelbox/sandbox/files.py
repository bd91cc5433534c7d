"""Files behind signed links, as cloud storage has them.

A link opens its file without a key until it expires. One that comes with a key
is refused, so that a client that hands its key to strangers is noticed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from tap_labelbox.sandbox.replies import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tap_labelbox.sandbox.knobs import Knobs
    from tap_labelbox.sandbox.world import World

SECRET = b"anybody may know it"
RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Files:
    """The files of exports.

    Args:
        knobs: Tell how long a link lives.
        world: Tells the time.
    """

    def __init__(self, knobs: Knobs, world: World) -> None:
        self.root = ""
        self._knobs = knobs
        self._world = world
        self._contents: dict[str, bytes] = {}

    def put(self, name: str, content: bytes) -> str:
        """Keep a file and give a link to it."""
        self._contents[name] = content
        return self.link(name)

    def link(self, name: str) -> str:
        """Return a link to a file that is kept, good from now on for a while."""
        expires = int((self._world.now().timestamp() + self._knobs.link_seconds) * 1000)
        signature = _signature(name, str(expires))
        return f"{self.root}/files/{name}?Expires={expires}&Signature={signature}"

    def get(self, path: str, headers: Mapping[str, str]) -> Reply:
        """Answer a GET for a link."""
        address = urlsplit(path)
        name, query = address.path.removeprefix("/files/"), parse_qs(address.query)
        expires = query.get("Expires", ["0"])[0]
        if headers.get("Authorization"):
            return _refusal(HTTPStatus.BAD_REQUEST, "InvalidAuthenticationInfo")
        if query.get("Signature") != [_signature(name, expires)]:
            return _refusal(HTTPStatus.FORBIDDEN, "SignatureDoesNotMatch")
        if self._world.now().timestamp() * 1000 >= int(expires):
            return _refusal(HTTPStatus.FORBIDDEN, "ExpiredToken")
        if name not in self._contents:
            return _refusal(HTTPStatus.NOT_FOUND, "NoSuchKey")
        return _part(self._contents[name], headers.get("Range") or "")


def _part(content: bytes, requested: str) -> Reply:
    """Return the bytes that were requested; all, unless a range was."""
    kind = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    if not (match := RANGE.fullmatch(requested)):
        return Reply(HTTPStatus.OK, kind, content)
    start = int(match[1])
    end = min(int(match[2] or len(content)), len(content) - 1)
    if start >= len(content):
        span = {"Content-Range": f"bytes */{len(content)}"}
        return Reply(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, kind | span)
    span = {"Content-Range": f"bytes {start}-{end}/{len(content)}"}
    return Reply(HTTPStatus.PARTIAL_CONTENT, kind | span, content[start : end + 1])


def _signature(name: str, expires: str) -> str:
    text = f"{name} until {expires}".encode()
    return hmac.new(SECRET, text, hashlib.sha256).hexdigest()


def _refusal(status: HTTPStatus, code: str) -> Reply:
    text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>"
    return Reply(status, {"Content-Type": "application/xml; charset=UTF-8"}, text)
