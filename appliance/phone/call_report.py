"""From the record of a call to its part of the report, and its recordings to stereo files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from appliance.modelserver.errors import ModelServerError
from appliance.phone import measure, wav
from appliance.phone.conversation import CallRecord
from appliance.phone.heard import Models, files_texts, recognise, sounds_of_parts, values_in
from appliance.phone.measure import CallAudio, Measured
from appliance.phone.report import Audio, CallReport, Delays, Utterance


async def report_call(record: CallRecord, models: Models, audio_dir: Path, name: str, relative_to: Path) -> CallReport:
    """Measure a call, recognise what was heard, write its stereo files `NAME-caller.wav` and `NAME-agent.wav`.

    Args:
        relative_to: folder of the report, which the names of audio files in it start from.
    """
    audio = measure.lay_out(record)
    rows = measure.measure(record, audio, await sounds_of_parts(record, models))
    heard = [await _recognised_again(row, audio, models) for row in rows]
    texts = files_texts(rows, heard)
    return CallReport(
        id=record.call_id,
        number=record.plan.number,
        language=measure.language_of(record.received, record.plan.language),
        outcome=record.outcome,
        through=not record.closed_early and record.outcome in ("interpreted", "direct", "unknown"),
        closed_early=record.closed_early,
        first_audio_s=_rounded(measure.first_audio(audio)),
        connected_s=None if record.connected_at is None else round(record.connected_at - record.dialled_at, 3),
        duration_s=round(audio.length_s, 3),
        utterances=[_utterance(row, text, texts[id(row.turn)]) for row, text in zip(rows, heard, strict=True)],
        audio=_write_audio(audio, audio_dir, name, relative_to),
        longest_silence_s=measure.longest_silences(audio, rows),
    )


async def _recognised_again(row: Measured, audio: CallAudio, models: Models) -> str:
    try:
        return await recognise(row, audio, models)
    except ModelServerError:
        return ""


def _utterance(row: Measured, heard: str, heard_of_file: str) -> Utterance:
    expected = row.turn.values if row.last_of_turn else ()
    return Utterance(
        lane=row.lane,
        source_file=row.turn.file.name,
        reference=row.reference,
        expected=row.turn.expected if row.turn.reference == row.reference else None,
        recognised=" ".join(part.recognised for part in row.parts),
        translated=" ".join(part.translated for part in row.parts),
        heard=heard,
        outcome=_outcome(row),
        segments=len(row.parts),
        delay_s=_delays(row),
        confidence=min((part.confidence for part in row.parts), default=0.0),
        started_s=round(row.speech.start_s, 3),
        ended_s=round(row.speech.end_s, 3),
        heard_from_s=_rounded(row.heard_from_s),
        heard_to_s=_rounded(row.heard_to_s),
        values_expected=expected,
        values_heard=values_in(heard_of_file, expected),
    )


def _outcome(row: Measured) -> str:
    outcomes = [part.outcome for part in row.parts]
    if not outcomes:
        return "missed"
    return next((outcome for outcome in outcomes if outcome != "interpreted"), "interpreted")


def _delays(row: Measured) -> Delays:
    total = None if row.heard_from_s is None else row.heard_from_s - row.speech.end_s
    last = None if row.last_part_from_s is None else row.last_part_from_s - row.speech.end_s
    stages = row.parts[-1].delays if row.parts else None
    return Delays(
        total=_rounded(total),
        last_part=_rounded(last),
        endpoint_wait=stages.endpoint_wait if stages else 0.0,
        recognise=stages.recognise if stages else 0.0,
        identify=stages.identify if stages else 0.0,
        translate=stages.translate if stages else 0.0,
        render=stages.render if stages else 0.0,
        speak=stages.speak if stages else 0.0,
        play=stages.play if stages else 0.0,
        line=_rounded(None if last is None or stages is None else last - stages.total),
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _write_audio(audio: CallAudio, folder: Path, name: str, relative_to: Path) -> Audio:
    folder.mkdir(parents=True, exist_ok=True)
    names = {}
    for party in measure.PARTIES:
        path = folder / f"{name}-{party}.wav"
        wav.write(path, np.column_stack([audio.said[party], audio.heard[party]]))
        names[party] = os.path.relpath(path, relative_to)
    return Audio(caller=names["caller"], agent=names["agent"])
