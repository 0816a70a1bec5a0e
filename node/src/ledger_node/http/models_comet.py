"""What routes for nodes that join a CometBFT network take and answer, as the OpenAPI document shows it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ledger_node.http.models import Answer


class SnapshotPlace(Answer):
    """A snapshot: CometBFT's height, the ledger's, and the size of the log there."""

    height: int
    ledger_height: int
    size: int


class SnapshotsBody(Answer):
    """Snapshots of the state that this node offers, and CometBFT's genesis.json; null where none runs beside it."""

    genesis: dict[str, Any] | None
    snapshots: list[SnapshotPlace]


class LightAnswer(Answer):
    """CometBFT's JSON-RPC 2.0 answer."""

    jsonrpc: str
    id: int
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


class LightParams(BaseModel):
    """What a light client asks for: decimal texts."""

    model_config = ConfigDict(extra="forbid")

    height: Annotated[str | None, Field(pattern=r"^[0-9]{1,19}$")] = None
    page: Annotated[str | None, Field(pattern=r"^[0-9]{1,19}$")] = None
    per_page: Annotated[str | None, Field(pattern=r"^[0-9]{1,19}$")] = None


class LightBody(BaseModel):
    """A JSON-RPC 2.0 request of a light client."""

    id: int
    method: Literal["commit", "validators", "consensus_params"]
    params: LightParams | None = None
