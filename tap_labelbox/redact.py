"""Keeping secrets out of the log, whoever logs and whatever a reply holds.

:func:`mask` is the one place in which it is decided what a secret looks like:

* what :func:`hide` was given: the API key, passwords of proxies;
* values by the name of their parameter, wherever one looks like a signature, a token,
  a password: in a query, in a header, in JSON, percent-encoded;
* all that follows the question mark of an address, and all that stands before an @.

:func:`bare_address` and :func:`mask_within` decide the same for records. They take
too much rather than too little. Known secrets are taken out first, then the text is
cut, and what is left is searched by patterns; so a secret that the cut would halve is
gone already, and no pattern ever sees a long text.
"""

from __future__ import annotations

import base64
import json
import logging
import re
from functools import partial
from typing import TYPE_CHECKING, Any
from unicodedata import normalize
from urllib.parse import quote, unquote
from urllib.request import getproxies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MASK = "***"
MAX_TEXT_CHARACTERS = 10_000  # of a message that is logged
MAX_EXCESS_CHARACTERS = 1000  # that are not worth a cut: what was cut is not cut anew
MIN_SECRET_CHARACTERS = 4  # what is shorter is in half of all texts
MIN_DISTINCT_CHARACTERS = 8  # a secret that is shorter may be a part of a word
PREFIX_CHARACTERS = 8  # by which a secret is known that somebody has cut
MIN_PREFIX_CHARACTERS = 4

# Parts of names whose values are secret, letters and digits only.
SECRET_PARTS = re.compile(
    "signature|token|secret|passw|pwd|apikey|accesskey|accessid|credential|bewit"
    "|keypairid|authorization|cookie|hmac|xamz|xgoog"
)
SECRET_NAMES = frozenset(("key", "pass"))
# These are secret also as the last word of a longer name: X-Sig, access_policy.
SECRET_WORDS = frozenset(("auth", "jwt", "policy", "sas", "session", "sig", "sign"))
NO_NAME = re.compile(r"[^a-z0-9]+")

# A name, and what divides it from its value: behind it, or percent-encoded within what
# looks like one long name.
NAME = re.compile(r"[\w.%\[\]~-]{2,}")
DIVIDER = re.compile(
    r"(?:\\{0,4}[\"'])?\s{0,4}(?:[:=>]|\\{1,4}(?:u003|x3)d|&#61;|&#x3d;)\s{0,4}"
    r"|\\{0,4}[\"']\s{0,4},\s{0,4}(?=\\{0,4}[\"'])",  # a pair, as in a list of headers
    re.IGNORECASE,
)
INNER_DIVIDER = re.compile(r"%(?:25){0,4}3d", re.IGNORECASE)
MAX_NAME_CHARACTERS = 100
VALUE = re.compile(
    r"\*\*\*|(?:(?:Bearer|Basic|Digest|Negotiate|Token)\s{1,4})?"
    r"(?:\\{0,4}\"(?:[^\"\\]|\\.)*\"?|\\{0,4}'(?:[^'\\]|\\.)*'?|[^\s\"'<>&]+"
    # A plus sign of Base64 may have become a space.
    r"(?: [a-z0-9+/]{4,400}={1,2}(?!\w))?)",
    re.IGNORECASE | re.DOTALL,
)
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
SCHEME = re.compile(r"\b(Bearer|bearer|Basic)\s{1,4}[^\s\"'<>,;]{12,}")
PORT = re.compile(r"(?:[^/?#:]|\[[^/?#\]]*\])*(?::\d{0,5})?(?:[/?#\\,.;)\]]|:?$)")
WORD = re.compile(r"[^\s\"'<>]+")
# What follows a scheme, and what a query begins with, however they are encoded.
AUTHORITY = re.compile(
    r"(?::|%(?:25){0,4}3a|\\{1,4}u003a)(?:\\{0,4}/|%(?:25){0,4}2f|\\{1,4}u002f){2}",
    re.IGNORECASE,
)
QUERY = re.compile(r"\?|%(?:25){0,4}3f|\\{1,4}u003f", re.IGNORECASE)
EQUALS = re.compile(r"=|%(?:25){0,4}3d|\\{1,4}u003d", re.IGNORECASE)
AT = re.compile(r"@|%(?:25){0,4}40|\\{1,4}u0040", re.IGNORECASE)
# The same of a text that is to be one address, and its host.
START = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*:)?[/\\]{2,}", re.IGNORECASE)
END = re.compile(rf"{QUERY.pattern}|#|%(?:25){{0,4}}23", re.IGNORECASE)
HOST = re.compile(r"(?:[^/\\:\s\[\]]+|\[[^/\\\s\]]+\])(?::\d{0,5})?(?=[/\\]|$)")
LOOKALIKES = str.maketrans("\uff20\uff1f\uff03", "@?#")

_hidden: dict[str, re.Pattern[str]] = {}


def hide(secret: str) -> None:
    """Mask a secret in all that is logged from now on, in each of its spellings."""
    if len(secret) < MIN_SECRET_CHARACTERS:
        return
    encoded = quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1]
    for spelling in {secret, *encoded}:
        whole = re.escape(spelling)
        if len(spelling) >= MIN_DISTINCT_CHARACTERS:
            # Who cuts a text may leave the beginning of a secret in it.
            known = re.escape(spelling[:PREFIX_CHARACTERS])
            whole = rf"{whole}|{known}[^\s\"'<>&,;(){{}}\[\]]*"
        else:
            whole = rf"(?<![A-Za-z0-9_]){whole}(?![A-Za-z0-9_])"
        _hidden[spelling] = re.compile(whole)


def hide_proxies() -> None:
    """Hide the passwords of the proxies that the environment names."""
    for address in getproxies().values():
        userinfo, at, _ = address.rpartition("@")
        if not at:
            continue
        userinfo = userinfo.split("://", 1)[-1]
        user, _, password = userinfo.partition(":")
        hide(base64.b64encode(f"{user}:{password}".encode()).decode())
        # A password that is not encoded is torn apart by whoever parses the address.
        for part in {password, unquote(password), *re.split(r"[/?#@\\]", password)}:
            hide(part)
        if password:
            hide(userinfo)


def mask(value: object) -> str:
    """Return the text of a value without secrets, cut if it is long."""
    text = _without_hidden(str(value))
    left = len(text) - MAX_TEXT_CHARACTERS
    is_cut = left > MAX_EXCESS_CHARACTERS
    if is_cut:
        text = text[:MAX_TEXT_CHARACTERS]
    text = SCHEME.sub(rf"\1 {MASK}", text)
    text = WORD.sub(_safe_word, "".join(_without_values(text)))
    if is_cut:
        # What makes it an address that holds a password may have been cut off.
        words = text.rpartition(" ")
        if result := AUTHORITY.search(words[2]):
            text = f"{words[0]}{words[1]}{words[2][: result.end()]}{MASK}"
        text += f"... ({left} more characters)"
    return text


def bare_address(text: str) -> str | None:
    """Return an address without user info, query and fragment; None if it is none.

    Of one with an @ in its path only the scheme is left: it may be in a password.
    """
    text = one_line(text.translate(LOOKALIKES))
    if not (scheme := START.match(text)):
        return None
    end = END.search(text, scheme.end())
    kept = text[scheme.end() : end.start() if end else len(text)]
    ats = [*AT.finditer(kept)]
    user_info, host = (
        ("", kept) if not ats else (kept[: ats[-1].start()], kept[ats[-1].end() :])
    )
    if "/" in user_info or "\\" in user_info:
        return scheme[0] + MASK
    return mask(scheme[0] + host) if HOST.match(host) else None


def mask_within(value: Any, *, is_secret: bool = False, depth: int = 100) -> Any:
    """Return a JSON value with each of its texts masked as in the log.

    Under the name of something secret all are; so is what is nested deeper.
    """
    if depth == 0:
        return MASK
    if isinstance(value, dict):
        return {
            name: mask_within(
                inner, is_secret=is_secret or has_secret_name(name), depth=depth - 1
            )
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [
            mask_within(item, is_secret=is_secret, depth=depth - 1) for item in value
        ]
    if isinstance(value, str):
        return MASK if is_secret else mask(value)
    return value


def one_line(text: str) -> str:
    """Return a text without what would begin a line, or colour one, or the like."""
    return " ".join(CONTROL.sub(" ", text).split())


def _without_hidden(text: str) -> str:
    # The longest first: one secret may be a part of another.
    for spelling in sorted(_hidden, key=len, reverse=True):
        pattern = _hidden[spelling]
        prefix = spelling[:PREFIX_CHARACTERS]
        if prefix in text:
            text = pattern.sub(MASK, text)
        if len(spelling) >= MIN_DISTINCT_CHARACTERS:
            for end in range(len(prefix) - 1, MIN_PREFIX_CHARACTERS - 1, -1):
                if text.endswith(prefix[:end]):
                    text = text[:-end] + MASK
                    break
    return text


def _without_values(text: str) -> Iterator[str]:
    """Yield a text in pieces, with masks for the values of secret parameters."""
    at = 0
    for result in NAME.finditer(text):
        if result.start() < at:  # it is in a value that is masked already
            continue
        start, end = result.span()
        dividers = [*INNER_DIVIDER.finditer(text, start, end)]
        if behind := DIVIDER.match(text, end):
            dividers.append(behind)
        for divider in dividers:
            begin = max(start, divider.start() - MAX_NAME_CHARACTERS)
            name = text[begin : divider.start()]
            value = VALUE.match(text, divider.end()) if has_secret_name(name) else None
            if value:
                yield text[at : divider.end()]
                yield MASK
                at = value.end()
                break
            start = divider.end()
    yield text[at:]


def has_secret_name(name: str) -> bool:
    """Return whether a value of this name is likely to be secret."""
    words = NO_NAME.split(normalize("NFKC", unquote(unquote(name))).lower())
    plain = "".join(words)
    return (
        bool(SECRET_PARTS.search(plain))
        or plain in SECRET_NAMES
        or words[-1] in SECRET_WORDS
    )


def _safe_word(matched: re.Match[str]) -> str:
    """Return a word without what an address in it may hold."""
    word = matched[0]
    start = AUTHORITY.search(word)
    query = QUERY.search(word, start.end() if start else 0)
    end = query.end() if query else len(word)
    is_signed = query and (start or EQUALS.search(word, end)) and end < len(word)
    safe = word[:end] + MASK if is_signed else word
    ats = [*AT.finditer(word, start.end() if start else 0)]
    if start and ats:
        at = ats[-1].start()
        # A password may hold a question mark; then the host is behind it.
        return word[: start.end()] + MASK + (safe[at:] if at < end else "")
    if start and not PORT.match(word, start.end()):  # the @ is behind a space
        return word[: start.end()] + MASK
    if ats and 0 < (colon := word.find(":")) < ats[-1].start():
        return word[: colon + 1] + MASK + word[ats[-1].start() :]
    return safe


def install() -> None:
    """Mask all that this process logs, at every level; twice is once.

    A filter on a logger does not see what the loggers below it log, and one on a
    handler does not see what goes to others. So records are masked where they are
    made.
    """
    make = logging.getLogRecordFactory()
    if not (isinstance(make, partial) and make.func is _masked_record):
        logging.setLogRecordFactory(partial(_masked_record, make))


def _masked_record(
    make: Callable[..., logging.LogRecord], *args: Any, **options: Any
) -> logging.LogRecord:
    """Return a log record that holds no secret."""
    record = make(*args, **options)
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001  # logging reports it when it formats
        record.msg, record.args = mask(f"{record.msg} {record.args}"), ()
    else:
        # What holds no secret stays as it is: a formatter may look into it.
        if (masked := mask(text)) != text:
            record.msg, record.args = masked, ()
    if record.exc_info and record.exc_info[1]:
        _, error, trace = record.exc_info
        safe = masked_error(error)
        if safe is not error:
            record.exc_info = type(safe), safe, trace
    if record.stack_info:
        record.stack_info = mask(record.stack_info)
    return record


def masked_error(error: BaseException, depth: int = 10) -> BaseException:
    """Return an exception whose text, and that of its causes, holds no secret.

    It is the same one where there is nothing to mask. Causes deeper than that are left
    out.
    """
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # whatever an exception does
        text = ""
    notes = getattr(error, "__notes__", [])
    linked = [error.__cause__, error.__context__]
    safe_links = [
        link and (masked_error(link, depth - 1) if depth else None) for link in linked
    ]
    safe_text, *safe_notes = map(mask, (text, *notes))
    is_same = all(a is b for a, b in zip(linked, safe_links, strict=True))
    if is_same and [safe_text, *safe_notes] == [text, *notes]:
        return error
    kind = type(error)
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    safe: BaseException = type(kind.__name__, (Exception,), names)(safe_text)
    safe.__traceback__ = error.__traceback__
    safe.__cause__, safe.__context__ = safe_links
    safe.__suppress_context__ = error.__suppress_context__
    for note in safe_notes:
        safe.add_note(note)
    return safe
