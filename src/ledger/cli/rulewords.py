"""Says in the reader's language what the rule language and the declarations object to.

Rule: messages are English where they are raised; each is recognised by its pattern in the catalogue `language` and said
by the text of the same key in Chinese. A message without one is shown as it is. Not here: when they are raised.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ledger.cli.texts import Texts, catalogue, fill

_PLACEHOLDER = re.compile(r"\\\{([a-z])\\\}")


def translated(texts: Texts, message: str) -> str:
    """`message` in the language of `texts`."""
    if texts.language == "en":
        return message
    for pattern, key in _patterns():
        found = pattern.fullmatch(message)
        if found is not None:
            return fill(texts.text(key, catalogue_name="language"), found.groupdict())
    return message


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """(pattern, key), those with the most words of their own first."""
    entries = sorted(catalogue("language", "en").items(), key=lambda pair: -len(re.sub(r"\{[a-z]\}", "", pair[1])))
    return [(re.compile(_PLACEHOLDER.sub(r"(?P<\1>.+?)", re.escape(text)), re.DOTALL), key) for key, text in entries]
