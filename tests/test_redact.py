"""The log holds no secret; tests/test_hostile.py has all the ways in."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox import redact
from tap_labelbox.redact import MASK, MAX_EXCESS_CHARACTERS, MAX_TEXT_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "lb-only-of-these-tests-0123456789"


@pytest.fixture(autouse=True)
def _uninstalled() -> Iterator[None]:
    factory = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(factory)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("https://a.test/b?X-Sig=c", f"https://a.test/b?{MASK}"),
        ("https://me:password@a.test/b", f"https://{MASK}@a.test/b"),
        ('{"token": "abc"}', f'{{"token": {MASK}}}'),
        ("Authorization: Bearer abc", f"Authorization: {MASK}"),
        ("page 3 of 5: ok", "page 3 of 5: ok"),
        ("", ""),
    ],
)
def test_secrets_are_masked_and_nothing_else(text: str, masked: str) -> None:
    """By where they stand; masking twice is masking once."""
    assert redact.mask(text) == masked
    assert redact.mask(masked) == masked


def test_a_key_is_masked_wherever_it_stands() -> None:
    """Also where somebody has cut it."""
    redact.hide(KEY)

    assert redact.mask(f"a{KEY}b") == f"a{MASK}b"
    assert KEY[:6] not in redact.mask(f"and it ends with {KEY[:6]}")


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("https://a.test/b", "https://a.test/b"),
        ("https://a.test", "https://a.test"),
        ("https://a.test:8443/b/c", "https://a.test:8443/b/c"),
        ("https://[2001:db8::1]:8443/b", "https://[2001:db8::1]:8443/b"),
        ("https://münchen.test/straße", "https://münchen.test/straße"),
        ("//a.test/b", "//a.test/b"),
        ("https://a.test/b?S3CRET", "https://a.test/b"),
        ("https://a.test?S3CRET", "https://a.test"),
        ("https://a.test/b#S3CRET", "https://a.test/b"),
        ("https://a.test/b?x=1#S3CRET?S3CRET", "https://a.test/b"),
        ("https://a.test/b?to=S3CRET@b.test", "https://a.test/b"),
        ("https://a.test/b%3FS3CRET", "https://a.test/b"),
        ("https://a.test/b%253fS3CRET", "https://a.test/b"),
        ("https://a.test/b\uff1fS3CRET", "https://a.test/b"),
        ("https://S3CRET@a.test/b", "https://a.test/b"),
        ("https://me:S3CRET@a.test:1/b?S3CRET", "https://a.test:1/b"),
        ("https://me:S3@CRET@a.test/b", "https://a.test/b"),
        ("https://me%3AS3CRET%40a.test/b", "https://a.test/b"),
        ("https:///S3CRET@a.test/b", "https:///a.test/b"),
        ("HTTPS:\\\\me:S3CRET@a.test\\b", "HTTPS:\\\\a.test\\b"),
        (" https://me:S3CRET@a.test/b", "https://a.test/b"),
        ("https://a.test/\nb", "https://a.test/ b"),
        ("https://a.test/hook;token=S3CRET", f"https://a.test/hook;token={MASK}"),
        # What is before the @ may be a password with a slash, or no password.
        ("https://me:12/S3CRET@a.test/b", f"https://{MASK}"),
        ("https://a.test/S3CRET@b/c", f"https://{MASK}"),
        # No client can open these.
        ("https://me:S3CRET/x@a.test/b", f"https://{MASK}"),
        ("https://me:S3?CRET@a.test/b", None),
        ("https://me:S3CRET", None),
        ("https://S3CRET S3CRET/x", None),
        ("https://", None),
        ("https://@", None),
        ("me:S3CRET@a.test/b", None),
        ("S3CRET", None),
        ("data:text/plain,S3CRET", None),
        ("", None),
    ],
)
def test_an_address_is_bare(text: str, bare: str | None) -> None:
    """Of host and path; what is none is not taken for one."""
    assert redact.bare_address(text) == bare
    assert "S3CRET" not in str(bare)


def test_a_value_is_masked_at_any_depth() -> None:
    """By names and by what its texts look like; all else stays as it is."""
    signed = "https://me:S3CRET@a.test/b?bewit=S3CRET"
    value = {
        "plain": [1, 2.5, True, None, "naïve text"],
        "deep": [{"inputFileUrl": signed, "token": "S3CRET"}],
        "secrets": {"a": ["S3CRET"]},
        "text": f"see {signed} there",
    }

    masked = redact.mask_within(value)

    assert masked["plain"] == value["plain"]
    assert masked["deep"][0]["inputFileUrl"] == f"https://{MASK}@a.test/b?{MASK}"
    assert "S3CRET" not in str(masked)
    nested: Any = "S3CRET"
    for _ in range(5000):
        nested = [nested]
    assert "S3CRET" not in json.dumps(redact.mask_within(nested))


@pytest.mark.parametrize("secrets", [("only", KEY), (KEY, "only"), (KEY, KEY[9:])])
def test_a_secret_may_be_a_part_of_another(secrets: tuple[str, str]) -> None:
    """Whichever became known first: neither leaves a part of the other."""
    for secret in secrets:
        redact.hide(secret)

    assert redact.mask(f"a {KEY} b") == f"a {MASK} b"
    for secret in secrets:
        assert redact.mask(f"a {secret} b") == f"a {MASK} b"


@pytest.mark.parametrize("length", [MAX_TEXT_CHARACTERS, MAX_TEXT_CHARACTERS + 1000])
def test_a_text_that_is_hardly_too_long_stays(length: int) -> None:
    """A text that was cut is not cut again."""
    assert redact.mask("x" * length) == "x" * length


def test_a_text_that_is_too_long_is_cut() -> None:
    """And says so."""
    length = MAX_TEXT_CHARACTERS + MAX_EXCESS_CHARACTERS + 1

    result = redact.mask("x" * length)

    assert result == "x" * MAX_TEXT_CHARACTERS + "... (1001 more characters)"
    assert redact.mask(result) == result


@pytest.mark.parametrize("depth", [1, 40, 150])
def test_stacks_of_any_length_hold_no_secret(
    caplog: pytest.LogCaptureFixture, depth: int
) -> None:
    """Those that are cut and those that are not."""
    redact.hide(KEY)
    redact.install()
    redact.install()

    def log(left: int) -> None:
        if not left:
            logging.getLogger("x").warning("here", stack_info=True)
            return
        # In a file of its own: repetitions are left out of a stack.
        code = compile("log(left - 1)", f"/{KEY}/{'x' * 99}/{left}.py", "eval")
        eval(code, {"log": log, "left": left})  # noqa: S307  # its text is above

    log(depth)

    (record,) = caplog.records
    assert record.stack_info
    assert KEY not in record.stack_info
    assert "more characters)" in record.stack_info or depth < 150


def test_one_line_is_one() -> None:
    """Whatever would begin another, or colour it."""
    assert redact.one_line("a\r\nb\x1b[31mc\u2028d") == "a b [31mc d"
