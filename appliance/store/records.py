"""What each event of a call writes: from an event to statements, without a connection.

Every statement may be run again with the same event, so a batch whose fate is unknown is simply written once more; and each
event makes the row of its call when it is missing, so a lost `CallStarted` loses nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
from sqlalchemy import Executable, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from appliance.interpreter.events import (
    CallEnded,
    CallStarted,
    CallStateChanged,
    Event,
    KeyPressed,
    LanguageDecided,
    PartialRecognised,
    UtteranceInterpreted,
    UtterancePlayed,
)
from appliance.store.tables import Call, Flag, LanguageVoteRecord, Utterance

FLAG_KEY = "9"
"""Digit by which the agent marks the utterance heard last as wrongly translated."""

_REASON_CHARACTERS = 255
_EMPTY_CALL = {"worker": "", "caller_number": "", "called_number": "", "state": "", "reason": ""}

CALLS = cast(Table, Call.__table__)
UTTERANCES = cast(Table, Utterance.__table__)
VOTES = cast(Table, LanguageVoteRecord.__table__)
FLAGS = cast(Table, Flag.__table__)


def is_kept(event: Event) -> bool:
    """Whether an event leaves a trace in the database at all."""
    return not isinstance(event, PartialRecognised)


def statements(event: Event, *, dialect: str, node: str) -> list[Executable]:
    """The statements that write `event`, in order.

    Args:
        dialect: `sqlite` or `postgresql`.
        node: name of the node that took the call.
    """
    at = _moment(event.at)
    call = event.call_id
    exists = _insert(dialect, CALLS, _EMPTY_CALL | {"id": call, "node": node, "started_at": at}, ["id"])
    match event:
        case CallStarted():
            known = {
                "node": node,
                "worker": event.worker,
                "caller_number": event.caller_number,
                "called_number": event.called_number,
                "started_at": at,
            }
            return [exists, update(CALLS).where(CALLS.c.id == call).values(known)]
        case CallStateChanged():
            change = {"state": event.state, "reason": event.reason[:_REASON_CHARACTERS]}
            going_on = CALLS.c.outcome.is_(None)  # an old event that is written again must not reopen a call
            return [exists, update(CALLS).where(CALLS.c.id == call, going_on).values(change)]
        case LanguageDecided():
            return [exists, _language(event), *_votes(event, dialect, at)]
        case UtteranceInterpreted():
            return [exists, _utterance(event, dialect, at)]
        case UtterancePlayed():
            mine = (UTTERANCES.c.call_id == call, UTTERANCES.c.lane == event.lane)
            place = (UTTERANCES.c.utterance == event.utterance, UTTERANCES.c.segment == event.segment)
            return [update(UTTERANCES).where(*mine, *place).values(played_at=at)]
        case KeyPressed(party="agent", digit=digit) if digit == FLAG_KEY:
            return [exists, _flag(event, dialect, at)]
        case CallEnded():
            end = {
                "ended_at": at,
                "duration_s": event.duration_s,
                "outcome": event.outcome,
                "reason": event.reason[:_REASON_CHARACTERS],
                "state": "ended",
            }
            return [exists, update(CALLS).where(CALLS.c.id == call).values(end)]
        case _:
            return []


def _language(event: LanguageDecided) -> Executable:
    change = {
        "language": event.language,
        "language_confidence": event.confidence,
        "language_after_s": event.after_s,
        "language_how": event.how,
    }
    return update(CALLS).where(CALLS.c.id == event.call_id).values(change)


def _votes(event: LanguageDecided, dialect: str, at: datetime) -> list[Executable]:
    decision = {"call_id": event.call_id, "decided_at": at, "language": event.language, "how": event.how}
    return [
        _insert(
            dialect,
            VOTES,
            decision | {"position": position, "source": vote.source, "weight": vote.weight, "scores": vote.scores},
            ["call_id", "decided_at", "position"],
        )
        for position, vote in enumerate(event.votes)
    ]


def _utterance(event: UtteranceInterpreted, dialect: str, at: datetime) -> Executable:
    values = {
        "call_id": event.call_id,
        "lane": event.lane,
        "utterance": event.utterance,
        "segment": event.segment,
        "last_segment": event.last_segment,
        "recorded_at": at,
        "started_s": event.started_s,
        "ended_s": event.ended_s,
        "source_language": event.source_language,
        "target_language": event.target_language,
        "recognised": event.recognised,
        "translated": event.translated,
        "confidence": event.confidence,
        "outcome": event.outcome,
        "reason": event.reason,
        "delays": msgspec.structs.asdict(event.delays),
        "delay_s": event.delays.total,
    }
    return _insert(dialect, UTTERANCES, values, ["call_id", "lane", "utterance", "segment"])


def _flag(event: KeyPressed, dialect: str, at: datetime) -> Executable:
    heard = (
        select(UTTERANCES.c.id)
        .where(UTTERANCES.c.call_id == event.call_id, UTTERANCES.c.lane == "caller_to_agent", UTTERANCES.c.translated != "")
        .where(UTTERANCES.c.recorded_at <= at)
        .order_by(UTTERANCES.c.recorded_at.desc(), UTTERANCES.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    values = {"call_id": event.call_id, "utterance_id": heard, "flagged_at": at, "party": event.party}
    return _insert(dialect, FLAGS, values, ["call_id", "flagged_at"])


def _insert(dialect: str, table: Table, values: Mapping[str, Any], keys: Sequence[str]) -> Executable:
    """An insert that leaves an existing row alone."""
    if dialect == "postgresql":
        return postgresql.insert(table).values(values).on_conflict_do_nothing(index_elements=keys)
    return sqlite.insert(table).values(values).on_conflict_do_nothing(index_elements=keys)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
