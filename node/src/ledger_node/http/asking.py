"""What may stand in a query string: closed sets of parameters, each bounded; an unknown one is refused, not ignored.

A filter with a typo must not silently answer more than was asked for. Numbers are plain decimals.
Not here: identifiers in paths, which the queries check themselves.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ledger.limits import HTTP_PAGE_DEFAULT, HTTP_PAGE_MAX, HTTP_WAIT_S_MAX, IDENTIFIER_CHARS_MAX, INT_MAX
from ledger_node.query.lineage import NODES_DEFAULT, NODES_MAX
from ledger_node.query.log import BLOCKS_PAGE_MAX, NATIVES_PAGE_MAX

_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII).fullmatch
IDENTIFIER_PATTERN: Final = rf"^[a-z0-9][a-z0-9._:~/-]{{0,{IDENTIFIER_CHARS_MAX - 1}}}$"


def _plain_decimal(value: Any) -> Any:
    if isinstance(value, str) and not _DECIMAL(value):
        raise ValueError("expected a plain decimal")
    return value


def _plain_flag(value: Any) -> Any:
    if isinstance(value, str) and value not in ("true", "false"):
        raise ValueError("expected true or false")
    return value


Count = Annotated[int, BeforeValidator(_plain_decimal), Field(ge=0, le=INT_MAX)]
Flag = Annotated[bool, BeforeValidator(_plain_flag)]
Limit = Annotated[int, BeforeValidator(_plain_decimal), Field(ge=1, le=HTTP_PAGE_MAX)]
Wait = Annotated[int, BeforeValidator(_plain_decimal), Field(ge=0, le=HTTP_WAIT_S_MAX)]
Identifier = Annotated[str, Field(pattern=IDENTIFIER_PATTERN, examples=["ga/hukou"])]
Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$", examples=["D809/39-4"])]
DigestHex = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Word = Annotated[str, Field(pattern="^[a-z][a-z_-]{0,31}$", examples=["raised"])]


class Asked(BaseModel):
    """What every route takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lang: Annotated[Literal["zh", "en"] | None, Field(description="Language of texts; else Accept-Language.")] = None


class AskPage(Asked):
    """A page of a list."""

    after: Annotated[Count, Field(description="Cursor: `next` of the page before.")] = 0
    limit: Limit = HTTP_PAGE_DEFAULT


class AskTimeline(AskPage):
    """A page of a stream."""

    proof: Annotated[
        Literal["none", "full"],
        Field(description="`full`: the entries come inside a completeness proof, to be checked before they are read."),
    ] = "none"
    refused: Annotated[Flag, Field(description="The twin stream of refused records.")] = False


class AskEvents(AskPage):
    """Records by kind and member; the cursor is a leaf index."""

    kind: Annotated[Identifier | None, Field(examples=["share.apply"])] = None
    member: Annotated[Identifier | None, Field(examples=["ga"])] = None


class AskReceipt(Asked):
    """Which certificate a receipt stands on."""

    certificate: Annotated[
        Literal["latest", "first"],
        Field(description="`latest` also shows the key's registration; `first` shows the earliest time."),
    ] = "latest"


class AskLineage(Asked):
    """How far a lineage goes."""

    direction: Literal["up", "down", "both"] = "both"
    depth: Annotated[int, BeforeValidator(_plain_decimal), Field(ge=1, le=50)] = 1
    nodes: Annotated[int, BeforeValidator(_plain_decimal), Field(ge=1, le=NODES_MAX)] = NODES_DEFAULT


class AskFindings(AskPage):
    """Findings by code, status and member."""

    code: Code | None = None
    status: Word | None = None
    about: Annotated[Identifier | None, Field(examples=["ga"])] = None


class AskDuties(AskPage):
    """Duties by obligor and status."""

    by: Annotated[Identifier | None, Field(examples=["ga"])] = None
    status: Annotated[Word | None, Field(examples=["open"])] = None


class AskTimers(AskPage):
    """`open`: armed timers by due time. `overdue`: duties that are open past their due time."""

    state: Literal["open", "overdue"] = "open"


class AskProposals(AskPage):
    """Proposals by status."""

    status: Annotated[Word | None, Field(examples=["open"])] = None


class AskSearch(Asked):
    """A text to look for."""

    q: Annotated[str, Field(min_length=1, max_length=100)]
    limit: Annotated[int, BeforeValidator(_plain_decimal), Field(ge=1, le=100)] = 20


class AskCheckpoint(Asked):
    """A long poll for another checkpoint note."""

    wait: Annotated[Wait, Field(description="Seconds to wait for a note other than `after`.")] = 0
    after: Annotated[DigestHex | None, Field(description="SHA-256 of the note the caller has.")] = None
    above: Annotated[Count | None, Field(description="Wait for a larger checkpoint, or in quiet for late lines.")] = (
        None
    )


class AskBlocks(Asked):
    """Blocks from a height on."""

    first: Annotated[Count, Field(alias="from", description="First height wanted.")]
    wait: Annotated[Wait, Field(description="Seconds to wait for that block.")] = 0
    limit: Annotated[int, BeforeValidator(_plain_decimal), Field(ge=1, le=BLOCKS_PAGE_MAX)] = 100


class AskNatives(Asked):
    """Native commits from a size on."""

    first: Annotated[Count, Field(alias="from", description="Smallest size wanted.")] = 0
    limit: Annotated[int, BeforeValidator(_plain_decimal), Field(ge=1, le=NATIVES_PAGE_MAX)] = 100


class AskInclusion(Asked):
    """A leaf in a tree."""

    seq: Count
    size: Annotated[int, BeforeValidator(_plain_decimal), Field(ge=1, le=INT_MAX)] | None = None


class AskConsistency(Asked):
    """Two trees."""

    old: Count
    new: Annotated[int, BeforeValidator(_plain_decimal), Field(ge=1, le=INT_MAX)] | None = None


class AskAbsence(Asked):
    """A stream that should not exist."""

    kind: Annotated[Identifier, Field(examples=["dataset"])]
    id: Identifier


class AskCompleteness(AskAbsence):
    """A range of a stream."""

    refused: Flag = False
    begin: Count = 0
    end: Count | None = None


class AskWrite(Asked):
    """What a local writer waits for."""

    ack: Literal["committed", "certified"] = "committed"
