"""The end of an object or array that arrives piece by piece."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_labelbox.records.json_extent import BrokenError, Extent

INNER = st.recursive(
    st.none() | st.integers() | st.text(alphabet='"\\[]{},: \té'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [(b"[1, [2]] x", 8), (b'{"]": "}"}', 10), (b"[[]", None), (b'{"a": "}', None)],
)
def test_the_end_of_a_value_is_found(text: bytes, size: int | None) -> None:
    """Brackets within strings are none."""
    assert Extent().size(text, 0) == size


@given(value=st.lists(INNER), start=st.integers(0, 3))
def test_the_end_is_found_wherever_the_text_is_cut(value: object, start: int) -> None:
    """And not before it has arrived; what was seen is not looked at again."""
    text = b"," * start + json.dumps(value).encode()
    extent = Extent()

    sizes = [extent.size(text[:cut], start) for cut in range(start + 1, len(text) + 1)]

    assert sizes == [None] * (len(sizes) - 1) + [len(text) - start]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (b'{"a": [1}', 8),
        (b'{"a": 1, {"a": 2}', 9),
        (b'{"a": "x\n"}', 8),
    ],
)
def test_what_is_broken_shows_before_its_end(text: bytes, at: int) -> None:
    """By brackets, by what stands before one, and by strings."""
    with pytest.raises(BrokenError) as caught:
        Extent().size(text, 0)

    assert caught.value.at == at
