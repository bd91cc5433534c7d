"""Pseudonyms for e-mail addresses and names of people, the same wherever they stand.

A pseudonym is a prefix that says what it stands for, and the HMAC-SHA-256 of the value
with a salt. Without the salt nobody can compute it, so no list of addresses reveals
who it is; and tables still join by it.

Columns that hold addresses or names say so where they are declared. In JSON it shows
in the keys (``created_by``, ``reviewedBy``, ``email``, the ``name`` of a user), and an
address by itself is one under any key. Of JSON that is kept as text no more is
decoded than what may hold one, level by level; all else is passed on as it is.
"""

from __future__ import annotations

import hmac
import re
from contextlib import suppress
from functools import lru_cache, partial
from operator import is_
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

import msgspec
from msgspec import Raw

from tap_labelbox.records.columns import (
    EMAIL,
    NAME,
    snake_case,
)
from tap_labelbox.records.json_text import OPENERS, encode, encoder, shallow
from tap_labelbox.records.values import as_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tap_labelbox.records.columns import (
        Column,
        Record,
    )

MAX_CACHED_VALUES = 2**16
"""Pseudonyms that are remembered: more than most organizations have members."""
MAX_CACHED_CHARACTERS = 320  # the longest address there can be
MAX_CACHED_BYTES = 512  # of an array or object
MAX_CACHED_OBJECTS = 2**12
MAX_CACHED_KEYS = 50  # of an object
MAX_KEY_CHARACTERS = 100  # of a key that says something

ADDRESS = re.compile(
    r"[^\s\"'<>(),:;/\\@]+@[^\s\"'<>(),:;/\\@]+\.[^\s\"'<>(),:;/\\@.]+"
)
ID = re.compile(r"c[a-z0-9]{24}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d+")

PSEUDONYM = re.compile(r"[a-z]+_[0-9a-f]{64}")

# Keys of JSON in snake_case, less what else may divide words.
PERSON_KEY = re.compile(
    r"(?:.*_)?(?:\w*ed|made|done|sent|given|taken|written|drawn)_by(?:_name)?"
    r"|(?:.*_)?(?:actor|annotator|approver|assignee|author|creator|invitee|label+er"
    r"|member|owner|person|reviewer|submitter|uploader|user)s?(?:_?names?)?"
)
EMAIL_KEY = re.compile(r"(?:.*_)?e_?mails?(?:_address(?:es)?)?")
NAME_KEY = re.compile(
    r"(?:(?:first|last|full|given|family|display|nick)_?)?name|login|picture"
    r"|avatar(?:_url)?"
)
NO_WORD = re.compile(r"[\W_]+")

PERSON, CONTENT = "person", "content"
CONTENT_KEYS = frozenset(
    (
        *("annotations", "classifications", "embeddings", "geometry"),
        *("media_attributes", "performance_details", "performance_details_v2"),
    )
)
"""What is drawn, answered and measured: no key in there says who did what."""

QUOTE, BRACKET = b'"['
STRING = msgspec.json.Decoder(str)
ITEMS = msgspec.json.Decoder(list[Raw])
MEMBERS = msgspec.json.Decoder(dict[str, Raw])
TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
ESCAPED_AT = re.compile(rb"\\u0040")  # so it is found twice as fast as by `in`
ADDRESS_TOKEN = re.compile(rb'"\s*+[^\s"@]++@[^\s"@]++\s*+"')


def role_of(key: str) -> str:
    """Return what a key of JSON says of its value; "" for nothing."""
    return _role(key) if len(key) <= MAX_KEY_CHARACTERS else ""


@lru_cache(2**12)
def _role(key: str) -> str:
    words = NO_WORD.sub("_", snake_case(key)).strip("_")
    if words in CONTENT_KEYS:
        return CONTENT
    if EMAIL_KEY.fullmatch(words):
        return EMAIL
    if PERSON_KEY.fullmatch(words):
        return PERSON
    return NAME if NAME_KEY.fullmatch(words) else ""


class Pseudonyms:
    """Returns pseudonyms.

    Args:
        salt: The secret without which nobody can compute them.
    """

    def __init__(self, salt: str) -> None:
        self._keyed = hmac.new(salt.encode(errors="surrogatepass"), digestmod="sha256")
        self._cached = lru_cache(MAX_CACHED_VALUES)(self._compute)
        self._cached_json = lru_cache(MAX_CACHED_OBJECTS)(self._computed)

    # --- values ----------------------------------------------------------------

    def name(self, value: str) -> str:
        """Return the pseudonym of a name; of an address, if it is one."""
        return self.of(EMAIL if is_address(value) else NAME, value)

    def person(self, value: str) -> str:
        """Return the pseudonym of somebody's address or name; an ID stays."""
        if "@" in value:
            return self.of(EMAIL, value)
        return value if ID.fullmatch(value) else self.of(NAME, value)

    def other(self, value: str) -> str:
        """Return the pseudonym of an address, whatever its case; else the value."""
        return self.of(EMAIL, value) if is_address(value) else value

    def of(self, prefix: str, value: str) -> str:
        """Return the pseudonym of a value; itself if it is one, or blank."""
        of = self._cached if len(value) <= MAX_CACHED_CHARACTERS else self._compute
        return of(prefix, value)

    def _compute(self, prefix: str, value: str) -> str:
        text = normalize("NFC", value).strip()
        if not text or PSEUDONYM.fullmatch(text):
            return value
        if prefix == EMAIL:
            text = text.casefold()
        keyed = self._keyed.copy()
        keyed.update(text.encode(errors="surrogatepass"))
        return f"{prefix}_{keyed.hexdigest()}"

    # --- JSON --------------------------------------------------------------------

    def json(self, value: Any, key: str = "") -> Any:
        """Return JSON under a key with pseudonyms in it; itself if there are none.

        It may be decoded, Raw, or a list of what is Raw.
        """
        if type(value) is Raw:
            return self._raw(value, role_of(key))
        if type(value) is list and value and type(value[0]) is Raw:
            return [self._raw(item, role_of(key)) for item in value]
        try:
            raw = Raw(encoder.encode(value))
        except RecursionError:
            replaced = self._addresses(Raw(encode(value)))
            return Raw(shallow(bytes(replaced)))
        replaced = self._raw(raw, role_of(key))
        return value if replaced is raw else replaced

    def _raw(self, raw: Raw, role: str) -> Raw:
        """Return JSON that stands under a key of this role with pseudonyms in it."""
        text = bytes(raw)
        # Tags, metadata and the like are the same in many rows.
        is_cached = len(text) <= MAX_CACHED_BYTES
        return (self._cached_json if is_cached else self._computed)(text, role) or raw

    def _computed(self, text: bytes, role: str) -> Raw | None:
        """Return such JSON; None if there is nothing to replace."""
        raw = original = Raw(text)
        with suppress(ValueError, RecursionError):
            raw = self._value(raw, text, role)
        # What is nested too deeply; also keys, and values of a key that comes twice.
        if _may_hold_address(bytes(raw)):
            raw = self._addresses(raw)
        return None if raw is original else raw

    def _value(self, raw: Raw, text: bytes, role: str) -> Raw:
        first = text[0]
        if first == QUOTE:
            is_plain = not role and b"@" not in text and b"\\" not in text
            return raw if is_plain else self._string(raw, text, role)
        if first not in OPENERS or (role == CONTENT and not _may_hold_address(text)):
            return raw
        if first == BRACKET:
            items = ITEMS.decode(text)
            values = [self._value(item, bytes(item), role) for item in items]
            is_same = all(map(is_, items, values))
            return raw if is_same else Raw(encoder.encode(values))
        return self._object(raw, text, role)

    def _object(self, raw: Raw, text: bytes, role: str) -> Raw:
        members = MEMBERS.decode(text)
        # A string without a role is looked at only if it may be an address, a number
        # never: most objects have neither.
        is_plain = b"@" not in text and b"\\" not in text
        is_flat = text.find(b"{", 1) < 0 and b"[" not in text
        is_changed = False
        keys = tuple(members)
        roles = _roles if len(keys) <= MAX_CACHED_KEYS else _roles.__wrapped__
        for key, inner in roles(keys, role):
            if is_plain and (inner == CONTENT or (is_flat and not inner)):
                continue
            member = members[key]
            new = self._value(member, bytes(member), inner)
            if new is not member:
                members[key] = new
                is_changed = True
        return Raw(encoder.encode(members)) if is_changed else raw

    def _string(self, raw: Raw, text: bytes, role: str) -> Raw:
        """Return a string, or a pseudonym in its place."""
        value = STRING.decode(text)
        if role in {PERSON, EMAIL}:
            new = self.person(value)
        elif role == NAME:
            new = self.name(value)
        elif value[:1] in {"[", "{"} and "@" in value:
            # JSON as text: fields that may come so, and what is nested too deeply.
            new = bytes(self._raw(Raw(value), role)).decode()
        else:
            new = self.other(value)
        return raw if new == value else Raw(encoder.encode(new))

    def _addresses(self, raw: Raw) -> Raw:
        """Return JSON with pseudonyms for all strings that are addresses, keys too."""

        def replaced(token: re.Match[bytes]) -> bytes:
            try:
                return bytes(self._string(Raw(token[0]), token[0], ""))
            except ValueError:
                return token[0]

        text = TOKEN.sub(replaced, before := bytes(raw))
        return raw if text == before else Raw(text)


def is_address(value: str) -> bool:
    """Return whether a text is an e-mail address and nothing else."""
    return (
        "@" in value
        and len(value) <= MAX_CACHED_CHARACTERS
        and ADDRESS.fullmatch(value.strip()) is not None
    )


def _may_hold_address(text: bytes) -> bool:
    """Return False if no string of a JSON text is an address, which is seen at once."""
    if b"@" in text and ADDRESS_TOKEN.search(text):
        return True
    return b"\\" in text and ESCAPED_AT.search(text) is not None


@lru_cache(2**9)
def _roles(keys: tuple[str, ...], outer: str) -> tuple[tuple[str, str], ...]:
    """Return the keys of an object, each with its role; outer is that of its own."""
    if outer == CONTENT:
        return tuple((key, CONTENT) for key in keys)
    roles = {key: role_of(key) for key in keys}
    is_person = outer in {PERSON, EMAIL} or EMAIL in roles.values()
    return tuple(
        (k, "" if r == NAME and not is_person else r) for k, r in roles.items()
    )


# --- records ---------------------------------------------------------------------


class Pseudonymizer:
    """Puts pseudonyms into the records of a table.

    Args:
        columns: Of the table.
        pseudonyms: Returns them.
    """

    def __init__(self, columns: Iterable[Column], pseudonyms: Pseudonyms) -> None:
        self._pseudonyms = pseudonyms
        self._personal: list[tuple[str, Callable[[str], str]]] = []
        self._json: list[str] = []
        self._texts: list[str] = []
        by_kind = {str(EMAIL): pseudonyms.person, str(NAME): pseudonyms.name}
        for column in columns:
            if column.is_replaced:
                kind = str(column.personal)
                replace = by_kind.get(kind) or partial(pseudonyms.of, kind)
                self._personal.append((column.name, replace))
            elif column.kind.schema["type"] in {"array", "object"}:
                self._json.append(column.name)
            elif "format" not in column.kind.schema and column.kind.check is not as_key:
                self._texts.append(column.name)

    def __call__(self, record: Record) -> Record:
        """Return a record with pseudonyms in it; its maker keeps the one it has."""
        changed: Record = {}
        for name, replace in self._personal:
            if value := record.get(name):
                changed[name] = (
                    replace(value) if type(value) is str else [*map(replace, value)]
                )
        for name in self._json:
            if value := record.get(name):
                changed[name] = self._pseudonyms.json(value, name)
        for name in self._texts:
            if type(value := record.get(name)) is str and "@" in value:
                changed[name] = self._pseudonyms.other(value)
        return record | changed if changed else record
