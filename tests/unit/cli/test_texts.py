"""The catalogues: zh and en have the same keys and placeholders, and our reader agrees with a TOML library."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from ledger.cli.texts import FOLDER, TextError, Texts, catalogue, choose_language, fill, parse_catalogue

NAMES = sorted({path.name.split(".")[0] for path in Path(FOLDER).glob("*.toml")})
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def flat(table: dict, prefix: str = "") -> dict[str, str]:
    """Texts of a TOML document by dotted key."""
    found: dict[str, str] = {}
    for key, value in table.items():
        found.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return found


@pytest.mark.parametrize("name", NAMES)
def test_both_languages_say_the_same_things(name: str) -> None:
    """The zh and en catalogue have the same keys, each with the same placeholders, and no empty text."""
    zh, en = catalogue(name, "zh"), catalogue(name, "en")
    assert sorted(zh) == sorted(en)
    for key, text in en.items():
        assert set(PLACEHOLDER.findall(text)) == set(PLACEHOLDER.findall(zh[key])), key
        assert text.strip() and zh[key].strip(), key


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_our_reader_agrees_with_a_toml_library(name: str, language: str) -> None:
    """The files are TOML, and the quick reader takes the same texts from them."""
    path = Path(FOLDER) / f"{name}.{language}.toml"
    assert flat(tomllib.loads(path.read_text("utf-8"))) == catalogue(name, language)


@pytest.mark.parametrize("text", ["key", 'key = "a', "key = 3", 'key = "a"\nkey = "b"', "[open", "key = 'a'"])
def test_other_toml_is_refused(text: str) -> None:
    """Anything but a table head, a comment or a one-line basic string is an error that names the line."""
    with pytest.raises(TextError) as caught:
        parse_catalogue(text)
    assert caught.value.code == "texts"


def test_escapes_are_those_of_toml() -> None:
    """Quotes, line feeds and backslashes come out as written."""
    assert parse_catalogue(r'k = "a\"b\n\\n"') == {"k": 'a"b\n\\n'}


def test_filling_keeps_what_it_does_not_know() -> None:
    """Placeholders without a value stay, bytes become hex, a missing text shows its key."""
    assert fill("{a} {b}", {"a": b"\x01"}) == "01 {b}"
    assert Texts("en").text("no.such.text") == "no.such.text"


def test_one_thing_is_not_told_as_many() -> None:
    """`{name|one|many}` takes its word by the value, also where the words hold a placeholder; a value cannot fake one."""
    text = "{n} {n|leaf|leaves} of {who}, {n|the only one|all {n}}"
    assert fill(text, {"n": 1, "who": "{n|x|y}"}) == "1 leaf of {n|x|y}, the only one"
    assert fill(text, {"n": "1,000", "who": "dj"}) == "1,000 leaves of dj, all 1,000"
    assert fill(text, {"who": "dj"}) == text.replace("{who}", "dj")


CHOSEN = re.compile(r"\{[a-z_]+\|[^|]*\|(?:[^{}|]|\{[a-z_]+\})*\}")
COUNTED = re.compile(
    r"(?<!of )\{(?:count|total|size|rows|events|blocks|leaves|files|errors|warnings|new|old)\} [a-z]+s\b|\(s\)"
)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"language"}))
def test_every_count_has_a_singular(name: str) -> None:
    """No English text puts a plain plural behind a count, or leaves it open with (s)."""
    texts = {key: CHOSEN.sub("", text) for key, text in catalogue(name, "en").items()}
    assert [key for key, text in texts.items() if COUNTED.search(text)] == []


def test_language_needs_no_locale() -> None:
    """Without any hint the language is English."""
    assert choose_language(None, {}) == "en" and choose_language("auto", {"LC_MESSAGES": "zh_TW"}) == "zh"
