"""What a rule says about two sentences, and what it is told beyond them."""

from __future__ import annotations

from typing import NamedTuple

from core.model import ContradictionKind, Span
from core.similarity import NEAR_COPY


class Finding(NamedTuple):
    """Evidence on a pair: what differs, where (places in each passage's text), and how sure that is (0 to 1)."""

    kind: ContradictionKind
    score: float
    left: Span
    right: Span


class Context(NamedTuple):
    """What the rules know beyond the two sentences.

    Attributes:
        similarity: how much the two passages repeat each other, 0 to 1.
        same_subject: whether both passages are about the subject that the query names.
        same_setting: whether they also share names beside it, so that namesakes are unlikely.
        about: stems of the words that the query is about.
        query_topic: stems of all the query's topic words.
        attribute: stems of the query's topic words that do not name its subject: what it asks about the subject.
        same_source: whether both passages come from one source, so that alike sentences are sections of one pattern.
    """

    similarity: float
    same_subject: bool
    same_setting: bool
    about: frozenset[str]
    query_topic: frozenset[str]
    attribute: frozenset[str]
    same_source: bool = False

    @property
    def is_one_text(self) -> bool:
        """Whether the passages go back to one text, so that what differs was edited."""
        return self.similarity >= NEAR_COPY
