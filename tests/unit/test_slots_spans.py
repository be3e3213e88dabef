"""Reading the spans of a passage that could answer a question."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.contradictions.slots.features import fitting
from core.contradictions.slots.marks import STATIC_FEATURES
from core.contradictions.slots.question import read_question
from core.contradictions.slots.spans import PassageSpans, read_spans
from core.contradictions.slots.values import ValueType

_TEXT = (
    "Ada Quill (4 March 1911 – 2 May 1980) was a British fencer and engineer from Oakham, Rutland. "
    "She won 14 medals with the team of Mary van der Lee."
)


def _said(spans: PassageSpans, kind: ValueType) -> list[str]:
    return [
        spans.text[start:end]
        for start, end, value in zip(spans.places.starts, spans.places.ends, spans.values, strict=True)
        if value.type is kind
    ]


def test_dates_and_numbers_are_found_in_place() -> None:
    """Offsets cut the value out of the text."""
    spans = read_spans(_TEXT)
    assert _said(spans, ValueType.DATE) == ["4 March 1911", "2 May 1980"]
    assert "14" in _said(spans, ValueType.NUMBER)


def test_names_go_over_joiners_and_come_with_and_without_commas() -> None:
    """A place is a candidate with its county and without."""
    names = _said(read_spans(_TEXT), ValueType.NAME)
    assert {"Ada Quill", "Oakham", "Rutland", "Oakham, Rutland", "Mary van der Lee"} <= set(names)


def test_categories_take_one_form_for_related_words() -> None:
    """A fencer states the sport of fencing and the profession of fencer."""
    spans = read_spans(_TEXT)
    found = {(value.category, value.key) for value in spans.values if value.type is ValueType.CATEGORY}
    assert ("sport", ("fenc",)) in found
    assert ("profession", ("engin",)) in found


def test_the_longest_form_of_a_category_counts() -> None:
    """`American football` is not football as well."""
    found = [value.key for value in read_spans("He plays American football.").values if value.category == "sport"]
    assert found == [("american", "footbal")]


def test_features_say_where_a_span_stands() -> None:
    """The first date opens a bracket, and a dash is behind it."""
    spans = read_spans(_TEXT)
    born = dict(zip(STATIC_FEATURES, spans.static[0].tolist(), strict=True))
    assert (born["is_date"], born["has_day"], born["in_bracket"], born["behind_bracket_open"]) == (1, 1, 1, 1)
    assert (born["before_dash"], born["behind_dash"], born["first_sentence"]) == (1, 0, 1)


def test_only_spans_of_the_right_sort_fit_a_question() -> None:
    """A question for a number takes none that is a part of a date."""
    spans = read_spans(_TEXT)
    places = fitting(read_question("How many medals did Ada Quill win?"), spans)
    assert [spans.text[spans.places.starts[place] : spans.places.ends[place]] for place in places] == ["14"]


def test_yes_and_no_are_left_to_other_rules() -> None:
    """No span fits a question that is answered by yes or no."""
    assert not len(fitting(read_question("Is Ada Quill a fencer?"), read_spans(_TEXT)))


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    """Offsets lie in the text, whatever it is, and there is a row of features for each span."""
    spans = read_spans(text)
    assert spans.static.shape == (len(spans), len(STATIC_FEATURES))
    assert all(0 <= start < end <= len(text) for start, end in zip(spans.places.starts, spans.places.ends, strict=True))
    assert all(spans.places.first <= spans.places.last)
