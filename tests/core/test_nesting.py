"""Finding the parts of JSON without decoding it, however deep it is."""

import json

from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.nesting import elements, members

TEXTS = st.text('ab "\\[]{}:,é', max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text("abcä_-. {[:,", max_size=8), VALUES, max_size=6))
def test_members_are_where_a_decoder_finds_them(value: dict[str, object]) -> None:
    text = json.dumps(value, ensure_ascii=False).encode()
    nested = {key: one for key, one in value.items() if isinstance(one, list | dict)}
    found = {key: json.loads(text[start:end]) for key, (start, end) in members(text).items()}
    assert found == nested


@given(st.lists(VALUES, max_size=6))
def test_elements_are_those_that_a_decoder_finds(value: list[object]) -> None:
    text = json.dumps(value, indent=1).encode()
    nested = [one for one in value if isinstance(one, list | dict)]
    assert [json.loads(one) for one in elements(text)] == nested
