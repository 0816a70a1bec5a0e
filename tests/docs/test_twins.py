"""Documents in two languages: a Chinese twin says what the English one says, as far as a program can see."""

from __future__ import annotations

import re

import pytest

from tests.architecture.tree import text
from tests.docs.markdown import Block, blocks, documents, headings, links, tables

TWINS = sorted(path for path in documents() if path.endswith(".zh.md"))
FOR_EVERYBODY = (
    "README", "docs/ARCHITECTURE", "docs/OPERATIONS", "docs/RULES", "docs/THREATS", "docs/TUTORIAL", "docs/VERIFY",
)  # fmt: skip


def settled(block: Block) -> tuple[str, str]:
    """Kind and text of a block; of settings that are only shown without comments, which are translated."""
    return block.info, re.sub(r" +#.*", "", block.body) if block.info in ("nginx", "toml") else block.body


def targets(path: str) -> list[str]:
    """Where links lead but for the language, without those to the twin itself and to places in the page."""
    own = path.rpartition("/")[2].replace(".zh.", ".")
    plain = [re.sub(r"\.(zh|en)\.", ".", target).partition("#")[0] for target, _ in links(path)]
    return sorted(target for target in plain if target not in ("", own))


@pytest.mark.parametrize("chinese", TWINS)
def test_both_languages_say_the_same(chinese: str) -> None:
    """Twins have the same headings by level, tables by size, links by target and equal blocks, and lead to each other."""
    english = chinese.replace(".zh.", ".")
    assert [level for level, _ in headings(chinese)] == [level for level, _ in headings(english)]
    shapes = [[[len(row) for row in rows] for rows in tables(path)] for path in (english, chinese)]
    assert shapes[0] == shapes[1]
    assert targets(chinese) == targets(english)
    assert [settled(each) for each in blocks(chinese)] == [settled(each) for each in blocks(english)]
    for path, other in ((english, chinese), (chinese, english)):
        if "rulebook/" not in path:
            assert other.rpartition("/")[2] in [target for target, _ in links(path)], f"{path} does not lead to {other}"


def test_what_everybody_reads_is_there_in_both_languages() -> None:
    """The documents for departments, operators, auditors and authors of rules have Chinese twins, in Chinese."""
    assert [name for name in FOR_EVERYBODY if f"{name}.zh.md" not in TWINS] == []
    for path in TWINS:
        assert len(re.findall(r"[一-鿿]", text(path))) > 500, path
