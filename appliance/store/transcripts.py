"""Reads what the call store holds: the list of calls, one call in full, all of it for export."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Self, TypeVar

import msgspec
from sqlalchemy import URL, ColumnElement, Select, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from appliance.config.load import LoadedConfig
from appliance.store.database import database_url, open_engine, sqlite_file
from appliance.store.errors import StoreError
from appliance.store.tables import Call, Utterance

EXPORT_BATCH_CALLS = 100

S = TypeVar("S", bound=msgspec.Struct)


class CallSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the list of calls."""

    id: str
    started_at: datetime
    caller_number: str
    language: str | None
    outcome: str | None
    """None while the call goes on, or when its end was never recorded."""
    duration_s: float | None
    utterances: int
    """Segments that were interpreted, in both lanes."""
    refused: int
    """Segments that were not."""
    delay_s: float | None
    """Mean delay of the interpreted segments."""


class UtteranceText(msgspec.Struct, frozen=True, kw_only=True):
    """One segment of an utterance."""

    lane: str
    utterance: int
    segment: int
    last_segment: bool
    started_s: float
    ended_s: float
    recorded_at: datetime
    played_at: datetime | None
    source_language: str
    target_language: str
    recognised: str
    translated: str
    confidence: float
    outcome: str
    reason: str
    delays: dict[str, float]
    flagged: bool
    """Whether the agent marked it as wrongly translated."""


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """One vote about the caller's language."""

    decided_at: datetime
    language: str
    """What was decided with it."""
    how: str
    source: str
    weight: float
    scores: dict[str, float]


class CallTranscript(msgspec.Struct, frozen=True, kw_only=True):
    """A whole call."""

    id: str
    node: str
    worker: str
    caller_number: str
    called_number: str
    started_at: datetime
    ended_at: datetime | None
    duration_s: float | None
    state: str
    outcome: str | None
    reason: str
    language: str | None
    language_confidence: float | None
    language_after_s: float | None
    language_how: str | None
    votes: list[Vote]
    utterances: list[UtteranceText]


class Transcripts:
    """A view of the call records that never disturbs their writer. Use as `async with`.

    Every method raises `StoreError` when the database cannot be read.
    """

    def __init__(self, url: URL) -> None:
        """
        Raises:
            StoreError: there is no database yet, or its driver is missing.
        """
        file = sqlite_file(url)
        if file is not None and not file.exists():
            raise StoreError(f"no call has been recorded yet: there is no {file}")
        self._name = str(file or url.render_as_string(hide_password=True))
        self._engine = open_engine(url, writes=False)

    @classmethod
    def from_config(cls, loaded: LoadedConfig) -> Transcripts:
        return cls(database_url(loaded.config.store.database, loaded.folder))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._engine.dispose()

    async def calls(self, *, limit: int, since: datetime | None = None) -> list[CallSummary]:
        """The newest calls first."""
        done = Utterance.outcome == "interpreted"
        figures = (
            select(
                Utterance.call_id,
                func.count().filter(done).label("utterances"),
                func.count().filter(~done & (Utterance.outcome != "silence")).label("refused"),
                func.avg(Utterance.delay_s).filter(done).label("delay_s"),
            )
            .group_by(Utterance.call_id)
            .subquery()
        )
        query = (
            select(
                Call.id,
                Call.started_at,
                Call.caller_number,
                Call.language,
                Call.outcome,
                Call.duration_s,
                func.coalesce(figures.c.utterances, 0).label("utterances"),
                func.coalesce(figures.c.refused, 0).label("refused"),
                figures.c.delay_s,
            )
            .outerjoin(figures, figures.c.call_id == Call.id)
            .order_by(Call.started_at.desc(), Call.id)
            .limit(limit)
        )
        if since is not None:
            query = query.where(Call.started_at >= since)
        return [CallSummary(**row._mapping) for row in await self._rows(query)]

    async def find(self, beginning: str) -> CallTranscript:
        """The call whose id begins so.

        Raises:
            StoreError: none does, or several do.
        """
        exact = await self._transcripts(Call.id == beginning)
        found = exact or await self._transcripts(Call.id.startswith(beginning, autoescape=True), limit=5)
        if not found:
            raise StoreError(f"no call has an id that begins with {beginning!r}", hint="see: appliance transcripts list")
        if len(found) > 1:
            raise StoreError(f"several calls begin with {beginning!r}: {', '.join(call.id for call in found)}")
        return found[0]

    async def export(self, *, since: datetime | None = None) -> AsyncIterator[CallTranscript]:
        """Every call, oldest first, a hundred in memory at a time."""
        condition = Call.started_at >= since if since is not None else Call.id.is_not(None)
        offset = 0
        while batch := await self._transcripts(condition, limit=EXPORT_BATCH_CALLS, offset=offset):
            for call in batch:
                yield call
            offset += len(batch)

    async def _transcripts(self, condition: ColumnElement[bool], *, limit: int | None = None, offset: int = 0) -> list[CallTranscript]:
        related = (selectinload(Call.utterances), selectinload(Call.votes), selectinload(Call.flags))
        query = select(Call).where(condition).options(*related).order_by(Call.started_at, Call.id).limit(limit).offset(offset)
        try:
            async with AsyncSession(self._engine) as session:
                return [_transcript(call) for call in (await session.scalars(query)).all()]
        except SQLAlchemyError as error:
            raise self._unreadable(error) from error

    async def _rows(self, query: Select[Any]) -> Sequence[Any]:
        try:
            async with self._engine.connect() as connection:
                rows: Sequence[Any] = (await connection.execute(query)).all()
                return rows
        except SQLAlchemyError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: SQLAlchemyError) -> StoreError:
        return StoreError(f"the call records in {self._name} cannot be read: {getattr(error, 'orig', None) or error}")


def _transcript(call: Call) -> CallTranscript:
    flagged = {flag.utterance_id for flag in call.flags}
    utterances = [_filled(UtteranceText, row, flagged=row.id in flagged) for row in call.utterances]
    votes = [_filled(Vote, row) for row in call.votes]
    return _filled(CallTranscript, call, utterances=utterances, votes=votes)


def _filled(kind: type[S], row: object, **more: object) -> S:
    """A struct with the columns of the same name."""
    return kind(**{name: getattr(row, name) for name in kind.__struct_fields__ if name not in more}, **more)
