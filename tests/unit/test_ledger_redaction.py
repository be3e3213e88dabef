"""Secrets in texts: what is masked, what is left alone, and what a bad setting is told."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from core.errors import ConfigError
from ledger.redaction import DEFAULT_PATTERNS, Redaction

ALL = Redaction.of(DEFAULT_PATTERNS)


def test_an_address_is_masked_character_for_character() -> None:
    """What stands around an address stays where it was."""
    text = "Write to Jörg.Müller+lists@mail.example.org, please."
    masked, counts = ALL.masked(text)
    assert masked == "Write to " + "*" * len("Jörg.Müller+lists@mail.example.org") + ", please."
    assert counts == {"email": 1}


@pytest.mark.parametrize(
    "card", ["4111111111111111", "4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005", "3782 822463 10005"]
)
def test_a_card_number_is_masked(card: str) -> None:
    """Digits with a right check digit, in the groups that are printed on cards."""
    assert ALL.masked(f"paid with {card}.") == (f"paid with {'*' * len(card)}.", {"card": 1})


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",  # wrong check digit
        "0.4111111111111111",  # a fraction
        "1764000000000000000000",  # too long
        "ab4111111111111111",  # part of an identifier
        "1111 2222 3333 4444",  # no card begins so
        "25 11 20 26 01 02 03 04",  # a date
        "user at example dot org",
        "the token is checked, the password: none is needed",
        "bearer of good news and congratulations",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """Long numbers, and words about secrets, are no secrets."""
    assert ALL.masked(text) == (text, {})


@pytest.mark.parametrize(
    ("before", "secret", "after"),
    [
        ("id ", "AKIA" + "Q" * 16, " here"),
        ("use ", "ghp_" + "a1" * 18, ""),
        ("hook ", "xoxb-" + "1234567890-abc", ""),
        ("", "sk-" + "a" * 24, "."),
        ("", "AIza" + "b" * 35, ""),
        ("", "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", " ok"),
        ("Authorization: Bearer ", "abc123.def456-ghi789", " ok"),
        ("password=", "hunter22", "; next"),
        ('{"api_key": "', "0a1b2c3d", '"}'),
        ("export DB_PASSWORD='", "s3cret!!", "'"),
        ("aws_secret_access_key = ", "wJalrXUtnFEMI/K7MDENG", ""),
        ("", "-----BEGIN RSA PRIVATE KEY-----\nMIIE-Type: 4\nabc=\n-----END RSA PRIVATE KEY-----", "\nrest"),
        ("cut off: ", "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADAN", ""),
    ],
)
def test_a_key_is_masked_and_what_names_it_stays(before: str, secret: str, after: str) -> None:
    """Keys of known forms, and what is assigned to a password, secret, token or key."""
    masked, counts = ALL.masked(before + secret + after)
    assert masked == before + "*" * len(secret) + after
    assert counts["key"] >= 1


def test_finds_are_counted_by_pattern() -> None:
    """Each find counts once, by the name of its pattern."""
    _, counts = ALL.masked("a@b.de and c@d.de paid with 4111111111111111")
    assert counts == {"email": 2, "card": 1}


def test_only_what_is_named_is_masked() -> None:
    """Names choose the patterns; `none` chooses none."""
    text = "a@b.de paid with 4111111111111111"
    assert Redaction.of("card").masked(text)[0].startswith("a@b.de paid")
    assert Redaction.of("none").masked(text) == (text, {})
    assert Redaction().masked(text) == (text, {})


def test_more_patterns_come_from_a_file(tmp_path: Path) -> None:
    """A file's patterns are added; a group called secret is what is masked of a find."""
    file = tmp_path / "patterns.toml"
    file.write_text("staff = 'EMP-[0-9]{6}'\npin = 'PIN (?P<secret>[0-9]{4})'\n")
    assert Redaction.of("none", file).masked("EMP-123456 has PIN 4711") == (
        "********** has PIN ****",
        {"staff": 1, "pin": 1},
    )


def test_a_pattern_that_finds_a_little_more_each_time_hides_the_text(tmp_path: Path) -> None:
    """Masking ends after some rounds: what such a pattern leaves over is masked as a whole."""
    file = tmp_path / "patterns.toml"
    file.write_text("creeping = '(?<![a-z])[a-z]'\n")
    masked, _ = Redaction.of("none", file).masked("1 " + "a" * 100)
    assert masked == "*" * 102


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("bad = '['", "bad: '[' is no regular expression"),
        ("bad = 7", "bad: expected a regular expression as text, not 7"),
        ("email = 'x'", "'email': expected a name of its own"),
        ("Bad-Name = 'x'", "'Bad-Name': expected a name of its own"),
        ("no toml", "patterns.toml: "),
    ],
)
def test_a_bad_file_is_told_with_its_key(tmp_path: Path, content: str, told: str) -> None:
    """The message names the setting, the file and the key."""
    file = tmp_path / "patterns.toml"
    file.write_text(content)
    with pytest.raises(ConfigError) as raised:
        Redaction.of("email", file)
    assert str(raised.value).startswith(f"LEDGER_REDACT_FILE: {file}")
    assert told in str(raised.value)


def test_a_missing_file_and_an_unknown_name_are_told() -> None:
    """Neither is passed over."""
    with pytest.raises(ConfigError, match=r"LEDGER_REDACT_FILE: nowhere\.toml"):
        Redaction.of("email", Path("nowhere.toml"))
    with pytest.raises(
        ConfigError, match="LEDGER_REDACT: unknown pattern 'phone', expected some of email, card, key, or none"
    ):
        Redaction.of("email, phone")


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "a.",
        "1",
        "1 ",
        "123 ",
        "a@",
        "a@b.",
        "-----BEGIN PRIVATE KEY-----",
        "bearer ",
        "password=",
        "eyJ",
        "token ",
    ],
)
def test_long_texts_take_time_in_proportion(unit: str) -> None:
    """Ten times as much of what repeats takes about ten times as long, not a hundred times."""

    def took_s(length: int) -> float:
        text = unit * (length // len(unit))
        best = 9.0
        for _ in range(3):
            begun_s = time.process_time()
            ALL.masked(text)
            best = min(best, time.process_time() - begun_s)
        return best

    assert took_s(50_000) < 35 * took_s(5_000) + 0.02
