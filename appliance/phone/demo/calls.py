"""The demo's calls, ready to be placed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from appliance.phone.demo import scripts, speech
from appliance.phone.run_calls import NamedCall
from appliance.phone.station import Station
from appliance.text.languages import language

QUIET_CALL = "mr"
"""The call without the original voice underneath, placed to the number that is configured so."""


def demo_calls(station: Station, speech_dir: Path, languages: Sequence[str] = ()) -> list[NamedCall]:
    """One call per caller language; the appliance is told none of them.

    Args:
        languages: only these; all when empty.

    Raises:
        DemoScriptError: a conversation is malformed.
        SpeechError: espeak-ng is not there.
    """
    chosen = [code for code in scripts.LANGUAGES if code in languages or not languages]
    quiet_numbers = station.loaded.config.play.quiet_numbers
    calls = []
    for position, code in enumerate(chosen, 1):
        turns = speech.turns(code, scripts.load(code), speech_dir)
        number = quiet_numbers[0] if code == QUIET_CALL and quiet_numbers else ""
        plan = station.plan(turns, number=number, language=code)
        title = f"[{position}/{len(chosen)}] {language(code).english_name}"
        calls.append(NamedCall(plan, f"{position}-{code}", title))
    return calls
