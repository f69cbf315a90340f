"""Calls, utterances, language votes, flags."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from appliance.store.tables import Json, Moment, RowId

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "calls",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("node", sa.String(64), nullable=False),
        sa.Column("worker", sa.String(64), nullable=False),
        sa.Column("caller_number", sa.String(64), nullable=False),
        sa.Column("called_number", sa.String(64), nullable=False),
        sa.Column("started_at", Moment(), nullable=False),
        sa.Column("ended_at", Moment()),
        sa.Column("duration_s", sa.Double()),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("outcome", sa.String(32)),
        sa.Column("reason", sa.String(255), nullable=False),
        sa.Column("language", sa.String(32)),
        sa.Column("language_confidence", sa.Double()),
        sa.Column("language_after_s", sa.Double()),
        sa.Column("language_how", sa.String(32)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calls")),
    )
    op.create_index(op.f("ix_calls_started_at"), "calls", ["started_at"])
    op.create_table(
        "utterances",
        sa.Column("id", RowId, nullable=False),
        sa.Column("call_id", sa.String(64), nullable=False),
        sa.Column("lane", sa.String(32), nullable=False),
        sa.Column("utterance", sa.Integer(), nullable=False),
        sa.Column("segment", sa.Integer(), nullable=False),
        sa.Column("last_segment", sa.Boolean(), nullable=False),
        sa.Column("recorded_at", Moment(), nullable=False),
        sa.Column("played_at", Moment()),
        sa.Column("started_s", sa.Double(), nullable=False),
        sa.Column("ended_s", sa.Double(), nullable=False),
        sa.Column("source_language", sa.String(32), nullable=False),
        sa.Column("target_language", sa.String(32), nullable=False),
        sa.Column("recognised", sa.String(), nullable=False),
        sa.Column("translated", sa.String(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("delays", Json, nullable=False),
        sa.Column("delay_s", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_utterances")),
        sa.ForeignKeyConstraint(["call_id"], ["calls.id"], name=op.f("fk_utterances_call_id"), ondelete="CASCADE"),
        sa.UniqueConstraint("call_id", "lane", "utterance", "segment", name=op.f("uq_utterances_call_id")),
    )
    op.create_table(
        "language_votes",
        sa.Column("id", RowId, nullable=False),
        sa.Column("call_id", sa.String(64), nullable=False),
        sa.Column("decided_at", Moment(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("language", sa.String(32), nullable=False),
        sa.Column("how", sa.String(32), nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("scores", Json, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_language_votes")),
        sa.ForeignKeyConstraint(["call_id"], ["calls.id"], name=op.f("fk_language_votes_call_id"), ondelete="CASCADE"),
        sa.UniqueConstraint("call_id", "decided_at", "position", name=op.f("uq_language_votes_call_id")),
    )
    op.create_table(
        "flags",
        sa.Column("id", RowId, nullable=False),
        sa.Column("call_id", sa.String(64), nullable=False),
        sa.Column("utterance_id", RowId),
        sa.Column("flagged_at", Moment(), nullable=False),
        sa.Column("party", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flags")),
        sa.ForeignKeyConstraint(["call_id"], ["calls.id"], name=op.f("fk_flags_call_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["utterance_id"], ["utterances.id"], name=op.f("fk_flags_utterance_id"), ondelete="SET NULL"),
        sa.UniqueConstraint("call_id", "flagged_at", name=op.f("uq_flags_call_id")),
    )


def downgrade() -> None:
    for table in ("flags", "language_votes", "utterances", "calls"):
        op.drop_table(table)
