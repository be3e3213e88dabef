"""What one sentence affirms and the other denies: a `not`, or a word and its opposite.

Both rules demand that the sentences say the same otherwise, word by word: what is denied of one thing may hold for
another, at another time or under another condition.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from core.contradictions.antonyms import are_opposites
from core.contradictions.finding import Context, Finding
from core.contradictions.pairing import SentencePair
from core.contradictions.sentences import Sentence, is_negation
from core.contradictions.values import ValueKind
from core.model import ContradictionKind, Span

_SHARED_TOPIC = 0.75
"""Share of all topic words of both sentences that both must have for a `not` to be the difference."""
_SHARED_BESIDE_OPPOSITES = 0.5
"""The same for two opposite words, which are not counted."""
_MIN_SHARED = 2
_SAME_ORDER = 0.6
"""Share of the topic words that stand in one order in both sentences: below, other things do other things."""
_NO_PLAIN_DENIAL = re.compile(
    r"\b(?:but|or|nor|if|unless|until|except|because|yet|rather|whether|although|though|while|when|where|without|"
    r"not (?:all|every|always|only|just|merely|necessarily|entirely|fully|completely|exactly|until|more|less|fewer|"
    r"much|many)|no (?:other|more|less|fewer|later|earlier|doubt|matter|one)|no,)",
    re.IGNORECASE,
)
"""With these a denial is limited, or is none; a sentence may say both things then."""
_HYPOTHETICAL = re.compile(
    r"\b(?:can|could|may|might|would|should|sometimes|often|usually|some|many|most|if|or|either|when|while|whether)\b",
    re.IGNORECASE,
)
"""With these opposites may both hold: it can be small, and it can be large."""
_HIDDEN_DENIAL = re.compile(
    r"\b(?:avoid|cease|deni|deny|fail|hardly|instead|lack|neglect|prevent|rather|refus|scarcely|stop|unlikely|without)",
    re.IGNORECASE,
)
"""Words that deny what stands behind them: to avoid looking unsafe is to look safe."""


def opposite_polarity(pair: SentencePair, context: Context) -> Finding | None:
    """Nearly the same words, denied in one of the two sentences.

    The sentence that affirms may say more (`it is open daily`, `it is not open`): what it says holds with less, too.
    One that denies more (`it is not open on Sundays`) leaves the other its truth.
    """
    del context
    if pair.left.negated == pair.right.negated:
        return None
    denied, affirmed = (pair.left, pair.right) if pair.left.negated else (pair.right, pair.left)
    if sum(map(is_negation, denied.words)) != 1 or any(_NO_PLAIN_DENIAL.search(one.text) for one in (denied, affirmed)):
        return None
    said = denied.topic - {stem for word, stem in zip(denied.words, denied.stems, strict=True) if is_negation(word)}
    if not said <= affirmed.topic or len(said) < _SHARED_TOPIC * len(affirmed.topic):
        return None
    if (
        len(said) < _MIN_SHARED
        or not _figures(denied) <= _figures(affirmed)
        or not _in_one_order(denied, affirmed, said)
    ):
        return None
    return Finding(
        ContradictionKind.POLARITY,
        0.6,
        Span(pair.left.start, pair.left.end),
        Span(pair.right.start, pair.right.end),
    )


def opposed_words(pair: SentencePair, context: Context) -> Finding | None:
    """The same statement with a word in one sentence and its opposite, at the same place, in the other."""
    del context
    left, right = pair.left, pair.right
    shared = left.topic & right.topic
    together = len(left.topic) + len(right.topic) - len(shared) - 2
    if len(shared) < max(_MIN_SHARED, _SHARED_BESIDE_OPPOSITES * together) or left.negated or right.negated:
        return None
    opposed = [
        (one, other) for one in left.topic - shared for other in right.topic - shared if are_opposites(one, other)
    ]
    if len(opposed) != 1:
        return None
    if any(_HYPOTHETICAL.search(one.text) for one in (left, right)) or _figures(left) != _figures(right):
        return None
    if (_HIDDEN_DENIAL.search(left.text) is None) != (_HIDDEN_DENIAL.search(right.text) is None):
        return None
    one, other = opposed[0]
    if not _in_one_order(left, right, shared | {one, other}, renamed={other: one}):
        return None
    return Finding(ContradictionKind.POLARITY, 0.65, _place(left, one), _place(right, other))


def _figures(sentence: Sentence) -> set[tuple[object, ...]]:
    """The numbers, dates and names of a sentence: another year or another holder makes another statement."""
    return {
        (value.kind, value.number, value.digits if value.kind is not ValueKind.NAME else value.stems)
        for value in sentence.values
    }


def _in_one_order(
    left: Sentence, right: Sentence, words: frozenset[str] | set[str], *, renamed: dict[str, str] | None = None
) -> bool:
    """Whether these words come in the same order in both sentences, nearly."""
    names = renamed or {}
    ones, others = ([names.get(stem, stem) for stem in one.stems if stem in words] for one in (left, right))
    return SequenceMatcher(None, ones, others, autojunk=False).ratio() > _SAME_ORDER and ones[:1] == others[:1]


def _place(sentence: Sentence, stemmed: str) -> Span:
    word = sentence.words[sentence.stems.index(stemmed)]
    return Span(word.start, word.end)
