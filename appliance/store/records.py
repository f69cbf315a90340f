"""What each event of a call writes: from an event to statements with their values, without a connection.

Every statement may be run again with the same event, so a batch whose fate is unknown is simply written once more; and each
event makes the row of its call when it is missing, so a lost `CallStarted` loses nothing else.

The statements are constants, run once per batch for all rows that want them: building them anew for each event costs a
millisecond of the gateway's time, about as much as ten events cost this way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import msgspec
from sqlalchemy import Table, TextClause, bindparam, text

from appliance.events import (
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

Values = dict[str, Any]


class Write(NamedTuple):
    """One row for one of the statements below."""

    statement: TextClause
    values: Values


def _insert(row: type, keys: Sequence[str], *, expressions: dict[str, str] | None = None, without: Sequence[str] = ("id",)) -> TextClause:
    """An insert that leaves a row with the same keys alone; the same words for SQLite and PostgreSQL."""
    table = cast(Table, row.__table__)  # type: ignore[attr-defined]
    computed = expressions or {}
    names = [column.name for column in table.columns if column.name not in without]
    values = ", ".join(computed.get(name, f":{name}") for name in names)
    sql = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({values}) ON CONFLICT ({', '.join(keys)}) DO NOTHING"  # noqa: S608
    return _typed(sql, table, [name for name in names if name not in computed])


def _update(row: type, names: Sequence[str], keys: Sequence[str], *, condition: str = "") -> TextClause:
    table = cast(Table, row.__table__)  # type: ignore[attr-defined]
    changes = ", ".join(f"{name} = :{name}" for name in names)
    where = " AND ".join([f"{key} = :{key}" for key in keys] + ([condition] if condition else []))
    return _typed(f"UPDATE {table.name} SET {changes} WHERE {where}", table, [*names, *keys])  # noqa: S608


def _typed(sql: str, table: Table, names: Iterable[str]) -> TextClause:
    return text(sql).bindparams(*(bindparam(name, type_=table.columns[name].type) for name in names))


_CALL_FACTS = ("node", "worker", "caller_number", "called_number", "started_at")
_LATER_FACTS = ("ended_at", "duration_s", "outcome", "language", "language_confidence", "language_after_s", "language_how")

CALL = _insert(Call, ["id"], without=_LATER_FACTS)
STARTED = _update(Call, _CALL_FACTS, ["id"])
STATE = _update(Call, ["state", "reason"], ["id"], condition="outcome IS NULL")  # an old event written again must not reopen a call
LANGUAGE = _update(Call, ["language", "language_confidence", "language_after_s", "language_how"], ["id"])
ENDED = _update(Call, ["ended_at", "duration_s", "outcome", "reason", "state"], ["id"])
VOTE = _insert(LanguageVoteRecord, ["call_id", "decided_at", "position"])
UTTERANCE = _insert(Utterance, ["call_id", "lane", "utterance", "segment"], without=("id", "played_at"))
PLAYED = _update(Utterance, ["played_at"], ["call_id", "lane", "utterance", "segment"])
HEARD_LAST = """(
    SELECT id FROM utterances
    WHERE call_id = :call_id AND lane = 'caller_to_agent' AND translated <> '' AND recorded_at <= :flagged_at
    ORDER BY recorded_at DESC, id DESC LIMIT 1
)"""
FLAG = _insert(Flag, ["call_id", "flagged_at"], expressions={"utterance_id": HEARD_LAST})

ORDER = (CALL, STARTED, STATE, LANGUAGE, ENDED, VOTE, UTTERANCE, PLAYED, FLAG)
"""In this order the rows of many events give what the events give one after the other."""


def is_kept(event: Event) -> bool:
    """Whether an event leaves a trace in the database at all."""
    return not isinstance(event, PartialRecognised)


def grouped(writes: Iterable[Write]) -> list[tuple[TextClause, list[Values]]]:
    """The rows of each statement together, statements in their `ORDER`."""
    rows: dict[TextClause, list[Values]] = {statement: [] for statement in ORDER}
    for statement, values in writes:
        rows[statement].append(values)
    return [(statement, values) for statement, values in rows.items() if values]


def writes(event: Event, *, node: str) -> list[Write]:
    """What `event` writes.

    Args:
        node: name of the node that took the call.

    Raises:
        ValueError, OverflowError, OSError: its moment is outside of the calendar.
    """
    at = _moment(event.at)
    call = event.call_id
    empty = {"id": call, "node": node, "worker": "", "caller_number": "", "called_number": "", "started_at": at, "state": "", "reason": ""}
    exists = Write(CALL, empty)
    match event:
        case CallStarted(worker=worker, caller_number=caller, called_number=called):
            facts = {"node": node, "worker": worker, "caller_number": caller, "called_number": called, "started_at": at}
            return [exists, Write(STARTED, {"id": call} | facts)]
        case CallStateChanged(state=state, reason=reason):
            return [exists, Write(STATE, {"id": call, "state": state, "reason": reason[:_REASON_CHARACTERS]})]
        case LanguageDecided():
            return [exists, _language(event), *_votes(event, at)]
        case UtteranceInterpreted():
            return [exists, _utterance(event, at)]
        case UtterancePlayed(lane=lane, utterance=utterance, segment=segment):
            return [Write(PLAYED, {"call_id": call, "lane": lane, "utterance": utterance, "segment": segment, "played_at": at})]
        case KeyPressed(party="agent", digit=digit) if digit == FLAG_KEY:
            return [exists, Write(FLAG, {"call_id": call, "flagged_at": at, "party": event.party})]
        case CallEnded(duration_s=duration_s, outcome=outcome, reason=reason):
            end = {"ended_at": at, "duration_s": duration_s, "outcome": outcome, "reason": reason[:_REASON_CHARACTERS], "state": "ended"}
            return [exists, Write(ENDED, {"id": call} | end)]
        case _:
            return []


def _language(event: LanguageDecided) -> Write:
    decision = {"language": event.language, "language_how": event.how}
    figures = {"language_confidence": event.confidence, "language_after_s": event.after_s}
    return Write(LANGUAGE, {"id": event.call_id} | decision | figures)


def _votes(event: LanguageDecided, at: datetime) -> list[Write]:
    decision = {"call_id": event.call_id, "decided_at": at, "language": event.language, "how": event.how}
    return [
        Write(VOTE, decision | {"position": position, "source": vote.source, "weight": vote.weight, "scores": vote.scores})
        for position, vote in enumerate(event.votes)
    ]


def _utterance(event: UtteranceInterpreted, at: datetime) -> Write:
    values = {name: getattr(event, name) for name in event.__struct_fields__ if name not in ("at", "delays")}
    delays = msgspec.structs.asdict(event.delays)
    return Write(UTTERANCE, values | {"recorded_at": at, "delays": delays, "delay_s": event.delays.total})


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
