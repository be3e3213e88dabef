"""Turning a statement into its opposite: a negation put in or taken out, or one word replaced by its counterpart."""

from __future__ import annotations

import re
from random import Random

_COUNTERPARTS = """
increase decrease | increases decreases | increased decreased | increasing decreasing | higher lower | high low
highest lowest | more less | greater smaller | larger smaller | large small | rise fall | rises falls | rose fell
induces inhibits | induce inhibit | induced inhibited | promotes prevents | promote prevent | promoted prevented
promotes suppresses | promote suppress | activates inhibits | activate inhibit | activation inhibition
enhances impairs | enhance impair | enhanced impaired | improves worsens | improve worsen | improved worsened
upregulated downregulated | upregulates downregulates | upregulation downregulation | gain loss | positive negative
positively negatively | presence absence | present absent | better worse | best worst | early late | earlier later
before after | above below | first last | longer shorter | long short | stronger weaker | strong weak | strongly weakly
open closed | opened closed | begin end | began ended | accept reject | accepted rejected | succeeded failed
success failure | win lose | won lost | allowed forbidden | allows forbids | always never | everyone nobody
legal illegal | possible impossible | likely unlikely | able unable | necessary unnecessary
effective ineffective | sufficient insufficient | dependent independent | sensitive resistant
old new | older younger | young old | male female | men women | man woman | boy girl | north south | east west
northern southern | eastern western | left right | hot cold | warm cool | dry wet | rich poor | happy sad
inside outside | indoors outdoors | sitting standing | asleep awake | day night | morning evening | summer winter
black white | red blue | green yellow | public private | majority minority | major minor | maximum minimum
alive dead | full empty | heavy light | fast slow | quickly slowly | cheap expensive | true false | same different
similar different | common rare | often rarely | many few | stable unstable | complete incomplete | direct indirect
with without | reduces increases | reduced increased | reduce increase | reducing increasing | lacks has
"""

COUNTERPARTS: dict[str, tuple[str, ...]] = {}
"""Each word's counterparts; written for this project."""
for _entry in _COUNTERPARTS.replace("\n", " | ").split("|"):
    if _entry.strip():
        _left, _right = _entry.split()
        COUNTERPARTS[_left] = (*COUNTERPARTS.get(_left, ()), _right)
        COUNTERPARTS[_right] = (*COUNTERPARTS.get(_right, ()), _left)

_WORD = re.compile(r"[A-Za-z]+")
_VERB = r"is|are|was|were|can|could|will|would|should|must|may|might"
_CAN_BE_NEGATED = re.compile(rf"\b({_VERB}|has been|have been|had been|does|do|did)\b(?! not\b|n't)")
_NEGATION = re.compile(rf"\b({_VERB}|has|have|had) not\b ?|\bcannot\b")


def with_counterpart(text: str, chance: Random) -> str | None:
    """Replace one word that has a counterpart; None where there is none."""
    found = [match for match in _WORD.finditer(text) if match.group().lower() in COUNTERPARTS]
    if not found:
        return None
    match = chance.choice(found)
    word = chance.choice(COUNTERPARTS[match.group().lower()])
    return text[: match.start()] + _cased_like(word, match.group()) + text[match.end() :]


def negated(text: str) -> str | None:
    """Put a `not` behind the first verb that takes one; None where none is found, or the text is negated already."""
    if re.search(r"\b(not|no|never|none|nobody|nothing|cannot)\b|n't\b", text, re.IGNORECASE):
        return None
    match = _CAN_BE_NEGATED.search(text)
    if match is None:
        return None
    first, _, rest = match.group().partition(" ")
    return text[: match.start()] + f"{first} not{' ' + rest if rest else ''}" + text[match.end() :]


def affirmed(text: str) -> str | None:
    """Take the only `not` out; None where there is none, or more than one."""
    found = list(_NEGATION.finditer(text))
    if len(found) != 1:
        return None
    match = found[0]
    kept = "can" if match.group().startswith("cannot") else f"{match.group(1)} "
    return text[: match.start()] + kept + text[match.end() :]


def _cased_like(word: str, model: str) -> str:
    return word.capitalize() if model[0].isupper() else word
