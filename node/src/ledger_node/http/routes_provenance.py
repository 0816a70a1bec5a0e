"""Routes of provenance: datasets, grants, events, streams, lineage, members, findings, deadlines, search.

Every answer carries the certified checkpoint it stands on.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from ledger.core.proof import StreamName
from ledger_node.http import models
from ledger_node.http.asking import (
    AskDuties,
    Asked,
    AskEvents,
    AskFindings,
    AskLineage,
    AskPage,
    AskReceipt,
    AskSearch,
    AskTimeline,
    AskTimers,
)
from ledger_node.http.context import Context, answer
from ledger_node.http.documented import ok, refusals
from ledger_node.query import events, members, objects, oversight
from ledger_node.query.lineage import lineage
from ledger_node.query.receipts import make_receipts
from ledger_node.query.search import search
from ledger_node.query.streams import timeline


def routes(context: Context) -> APIRouter:
    """The router."""
    router = APIRouter(tags=["provenance"], dependencies=context.gated, responses=refusals(401, 403))
    _events(router, context)
    _objects(router, context)
    _streams(router, context)
    _oversight(router, context)
    return router


def _events(router: APIRouter, context: Context) -> None:
    @router.get("/v1/events", responses=ok(models.EventsBody))
    def list_events(asked: Annotated[AskEvents, Query()]) -> Response:
        """Records in the order they were recorded, refused ones included; the cursor is a leaf index."""
        with context.candidates() as found:
            return answer(
                events.list_events(
                    found, context.times, kind=asked.kind, member=asked.member, after=asked.after, limit=asked.limit
                )
            )

    @router.get("/v1/events/{member}/{event_id}", responses=ok(models.EventBody, 404))
    def show_event(member: str, event_id: str, asked: Annotated[Asked, Query()]) -> Response:
        """One event with its verdict, and what was refused under the same id."""
        del asked
        with context.standing() as standing:
            return answer(events.show_event(standing, context.times, member, event_id))

    @router.get("/v1/events/{member}/{event_id}/receipt", responses=ok(models.ProofFile, 404, proof=True))
    def receipt(member: str, event_id: str, asked: Annotated[AskReceipt, Query()]) -> Response:
        """A self-contained receipt of the event's first record."""
        with context.standing() as standing:
            seqs = events.find_certified(standing, member, event_id)[:1]
            return answer(make_receipts(standing, seqs, first=asked.certificate == "first")[0])


def _objects(router: APIRouter, context: Context) -> None:
    def show(kind: str, identifier: str) -> Response:
        with context.standing() as standing:
            return answer(objects.show_object(standing, kind, identifier))

    def page(kind: str, asked: AskPage) -> Response:
        with context.candidates() as found:
            return answer(objects.list_objects(found, kind, after=asked.after, limit=asked.limit))

    @router.get("/v1/datasets", responses=ok(models.ObjectsBody))
    def list_datasets(asked: Annotated[AskPage, Query()]) -> Response:
        """Datasets in the order they appeared."""
        return page("dataset", asked)

    @router.get("/v1/datasets/{id:path}/timeline", responses=ok(models.TimelineBody, 404))
    def dataset_timeline(id: str, asked: Annotated[AskTimeline, Query()]) -> Response:  # noqa: A002
        """Everything recorded of a dataset."""
        return _timeline(context, "dataset", id, asked)

    @router.get("/v1/datasets/{id:path}/lineage", responses=ok(models.LineageBody, 404))
    def dataset_lineage(request: Request, id: str, asked: Annotated[AskLineage, Query()]) -> Response:  # noqa: A002
        """Who got it, and what was made of it."""
        return _lineage(context, request, "dataset", id, asked)

    @router.get("/v1/datasets/{id:path}", responses=ok(models.ObjectBody, 404))
    def show_dataset(id: str, asked: Annotated[Asked, Query()]) -> Response:  # noqa: A002
        """A dataset's certified state."""
        del asked
        return show("dataset", id)

    @router.get("/v1/grants/{id:path}", responses=ok(models.ObjectBody, 404))
    def show_grant(id: str, asked: Annotated[Asked, Query()]) -> Response:  # noqa: A002
        """A grant's certified state."""
        del asked
        return show("grant", id)

    @router.get("/v1/objects/{kind}", responses=ok(models.ObjectsBody, 404))
    def list_objects(kind: str, asked: Annotated[AskPage, Query()]) -> Response:
        """State objects of any kind, in the order they appeared."""
        return page(kind, asked)

    @router.get("/v1/objects/{kind}/{id:path}", responses=ok(models.ObjectBody, 404))
    def show_object(kind: str, id: str, asked: Annotated[Asked, Query()]) -> Response:  # noqa: A002
        """The certified state of any object."""
        del asked
        return show(kind, id)


def _streams(router: APIRouter, context: Context) -> None:
    @router.get("/v1/streams/{kind}/{id:path}", responses=ok(models.TimelineBody, 404))
    def stream(kind: str, id: str, asked: Annotated[AskTimeline, Query()]) -> Response:  # noqa: A002
        """Any stream: everything recorded of one thing, provably complete."""
        return _timeline(context, kind, id, asked)

    @router.get("/v1/lineage/{kind}/{id:path}", responses=ok(models.LineageBody, 404))
    def any_lineage(
        request: Request,
        kind: str,
        id: str,  # noqa: A002
        asked: Annotated[AskLineage, Query()],
    ) -> Response:
        """What an object was made from, and what was made from it."""
        return _lineage(context, request, kind, id, asked)

    @router.get("/v1/members", responses=ok(models.MembersBody))
    def list_members(asked: Annotated[Asked, Query()]) -> Response:
        """Every member with its keys."""
        del asked
        with context.standing() as standing:
            return answer(members.list_members(standing))

    @router.get("/v1/members/{member}", responses=ok(models.MemberBody, 404))
    def show_member(member: str, asked: Annotated[Asked, Query()]) -> Response:
        """One member with its keys."""
        del asked
        with context.standing() as standing:
            return answer(members.show_member(standing, member))

    @router.get("/v1/members/{member}/events", responses=ok(models.TimelineBody, 404))
    def member_events(member: str, asked: Annotated[AskTimeline, Query()]) -> Response:
        """Everything a member recorded, and what concerns it."""
        return _timeline(context, "member", member, asked)


def _oversight(router: APIRouter, context: Context) -> None:
    @router.get("/v1/findings", responses=ok(models.FindingsBody))
    def findings(asked: Annotated[AskFindings, Query()]) -> Response:
        """Candidate violations with their article codes, in the order they were raised."""
        with context.candidates() as found:
            return answer(
                oversight.list_findings(
                    found,
                    code=asked.code,
                    status=asked.status,
                    about=asked.about,
                    after=asked.after,
                    limit=asked.limit,
                )
            )

    @router.get("/v1/duties", responses=ok(models.DutiesBody))
    def duties(asked: Annotated[AskDuties, Query()]) -> Response:
        """Who must do what by when."""
        with context.candidates() as found:
            return answer(
                oversight.list_duties(found, by=asked.by, status=asked.status, after=asked.after, limit=asked.limit)
            )

    @router.get("/v1/timers", responses=ok(models.TimersBody))
    def timers(asked: Annotated[AskTimers, Query()]) -> Response:
        """Deadlines: armed timers, or open duties past their due time."""
        with context.candidates() as found:
            read = oversight.list_overdue if asked.state == "overdue" else oversight.list_timers
            return answer(read(found, after=asked.after, limit=asked.limit))

    @router.get("/v1/search", responses=ok(models.SearchBody))
    def find(asked: Annotated[AskSearch, Query()]) -> Response:
        """Members, kinds, objects and events by name or words."""
        with context.candidates() as found:
            node = context.node
            return answer(search(found, node.registry, node.rules.kinds(), asked.q, asked.limit))


def _timeline(context: Context, kind: str, identifier: str, asked: AskTimeline) -> Response:
    with context.standing() as standing:
        return answer(
            timeline(
                standing,
                context.times,
                StreamName(kind, identifier, asked.refused),
                after=asked.after,
                limit=asked.limit,
                proof=asked.proof == "full",
            )
        )


def _lineage(context: Context, request: Request, kind: str, identifier: str, asked: AskLineage) -> Response:
    with context.candidates() as found:
        return answer(
            lineage(
                found,
                kind,
                identifier,
                up=asked.direction != "down",
                down=asked.direction != "up",
                depth=asked.depth,
                nodes=asked.nodes,
                sees=getattr(request.state, "sees", None),
            )
        )
