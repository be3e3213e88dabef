"""Reading what a question asks for."""

from __future__ import annotations

import pytest

from core.contradictions.slots.question import SlotKind, read_question


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("When was the Harlow Mill built?", SlotKind.DATE),
        ("What year did the Harlow Mill close?", SlotKind.DATE),
        ("What is the birth date of Ada Quill?", SlotKind.DATE),
        ("How many looms does the Harlow Mill have?", SlotKind.NUMBER),
        ("What is the population of Little Quenby?", SlotKind.NUMBER),
        ("Who founded the Harlow Mill?", SlotKind.PERSON),
        ('Who is the artist of the album "Tin Roofs"?', SlotKind.PERSON),
        ("Where is the Harlow Mill located?", SlotKind.PLACE),
        ("In which county is Little Quenby?", SlotKind.PLACE),
        ("What sport is Ada Quill associated with?", SlotKind.CATEGORY),
        ("What is the lowest Python version that tinroof supports?", SlotKind.VERSION),
        ("Is the Harlow Mill open on Sundays?", SlotKind.YES_NO),
        ("What conflict ended at Little Quenby?", SlotKind.OTHER),
    ],
)
def test_the_wording_tells_the_sort_of_answer(text: str, kind: SlotKind) -> None:
    """Each sort of question is told from its wording."""
    assert read_question(text).kind is kind


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("What sport is Ada Quill associated with?", "sport"),
        ("What political party is Senator Quill a member of?", "party"),
        ('What is the genre of the film "Tin Roofs"?', "genre"),
        ("What is the profession of Ada Quill?", "profession"),
        ("Under which licence is tinroof published?", "licence"),
    ],
)
def test_a_category_is_named_by_the_question(text: str, first: str) -> None:
    """Questions for a category say which one."""
    assert read_question(text).categories[0] == first


def test_who_is_a_person_even_where_a_category_is_named() -> None:
    """`Who` asks for a name, whatever else the question mentions."""
    question = read_question('Who is the artist of the album "A Kind of Style"?')
    assert question.kind is SlotKind.PERSON


def test_subject_and_attribute_are_told_apart() -> None:
    """The name is what the question is about, the rest what it asks."""
    question = read_question("What is the population of Little Quenby?")
    assert question.subject == {"littl", "quenbi"}
    assert question.attribute == {"popul"}
    assert question.topic == question.subject | question.attribute


def test_a_quoted_title_is_the_subject() -> None:
    """Lower-case words of a quoted title belong to the subject."""
    question = read_question('Who directed the film "Roofs of tin"?')
    assert question.subject == {"roof", "tin"}
    assert "direct" in question.attribute


def test_triggers_hold_words_that_say_the_same() -> None:
    """Words that stand beside such answers count, although the question lacks them."""
    question = read_question("When was the Harlow Mill built?")
    assert {"built", "construct", "complet"} <= question.triggers
    assert not question.triggers & question.subject


@pytest.mark.parametrize(
    ("text", "unit"), [("How tall is the Quenby Tower?", "metr"), ("How old is the Quenby Tower?", "year")]
)
def test_a_measure_is_asked_for_in_its_units(text: str, unit: str) -> None:
    """The wording tells which units an answer comes in; a count may come in any."""
    assert unit in read_question(text).units
    assert not read_question("How many windows does the Quenby Tower have?").units
