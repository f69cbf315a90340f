"""The tables of the call store: calls, what was said in them, how their language was decided, what was flagged.

A change here needs a migration in `migrations/versions`; a test compares the two.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Double, ForeignKey, Integer, MetaData, String, TypeDecorator, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

RowId = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only in a column that is exactly INTEGER."""
Json = JSON().with_variant(JSONB, "postgresql")


class Moment(TypeDecorator[datetime]):
    """A time of day and date in UTC, which SQLite would give back without its zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class Row(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_name)s",
        }
    )
    type_annotation_map = {datetime: Moment, float: Double, dict[str, Any]: Json}  # noqa: RUF012


_CALL_ID = String(64)
_CODE = String(32)


class Call(Row):
    __tablename__ = "calls"

    id: Mapped[str] = mapped_column(_CALL_ID, primary_key=True)
    node: Mapped[str] = mapped_column(String(64), default="")
    worker: Mapped[str] = mapped_column(String(64), default="")
    caller_number: Mapped[str] = mapped_column(String(64), default="")
    called_number: Mapped[str] = mapped_column(String(64), default="")
    started_at: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None]
    duration_s: Mapped[float | None]
    state: Mapped[str] = mapped_column(_CODE, default="")
    outcome: Mapped[str | None] = mapped_column(_CODE)
    """None while the call goes on, and for ever when its end was never recorded."""
    reason: Mapped[str] = mapped_column(String(255), default="")
    language: Mapped[str | None] = mapped_column(_CODE)
    language_confidence: Mapped[float | None]
    language_after_s: Mapped[float | None]
    language_how: Mapped[str | None] = mapped_column(_CODE)

    utterances: Mapped[list[Utterance]] = relationship(order_by="Utterance.started_s, Utterance.id", viewonly=True)
    votes: Mapped[list[LanguageVoteRecord]] = relationship(order_by="LanguageVoteRecord.id", viewonly=True)
    flags: Mapped[list[Flag]] = relationship(order_by="Flag.id", viewonly=True)


class Utterance(Row):
    """One segment of an utterance."""

    __tablename__ = "utterances"
    __table_args__ = (UniqueConstraint("call_id", "lane", "utterance", "segment"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"))
    lane: Mapped[str] = mapped_column(_CODE)
    utterance: Mapped[int]
    segment: Mapped[int]
    last_segment: Mapped[bool]
    recorded_at: Mapped[datetime]
    played_at: Mapped[datetime | None]
    """When the listener had heard it to its end."""
    started_s: Mapped[float]
    ended_s: Mapped[float]
    source_language: Mapped[str] = mapped_column(_CODE)
    target_language: Mapped[str] = mapped_column(_CODE)
    recognised: Mapped[str]
    translated: Mapped[str]
    confidence: Mapped[float]
    outcome: Mapped[str] = mapped_column(_CODE)
    reason: Mapped[str]
    delays: Mapped[dict[str, Any]]
    """Seconds by stage, as `StageDelays`."""
    delay_s: Mapped[float]
    """`delays["total"]`, to sort and filter by."""


class LanguageVoteRecord(Row):
    """One vote that went into one decision about the caller's language."""

    __tablename__ = "language_votes"
    __table_args__ = (UniqueConstraint("call_id", "decided_at", "position"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"))
    decided_at: Mapped[datetime]
    position: Mapped[int]
    """Place of the vote within its decision, from 0."""
    language: Mapped[str] = mapped_column(_CODE)
    """What was decided."""
    how: Mapped[str] = mapped_column(_CODE)
    source: Mapped[str] = mapped_column(_CODE)
    weight: Mapped[float]
    scores: Mapped[dict[str, Any]]


class Flag(Row):
    """A party marked the utterance it had just heard as wrongly translated."""

    __tablename__ = "flags"
    __table_args__ = (UniqueConstraint("call_id", "flagged_at"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"))
    utterance_id: Mapped[int | None] = mapped_column(ForeignKey("utterances.id", ondelete="SET NULL"))
    """None when nothing had been interpreted yet."""
    flagged_at: Mapped[datetime]
    party: Mapped[str] = mapped_column(_CODE)
