"""What a caller hears from Asterisk itself when no gateway worker takes the call: spoken once, when the stack is set up."""

from __future__ import annotations

from pathlib import Path

from appliance.engines.base import EngineError, SynthesiseJob
from appliance.engines.espeak import Espeak

TEXTS: dict[str, dict[str, str]] = {
    "without-interpreter": {
        "ta": "மொழிபெயர்ப்பு இப்போது கிடைக்கவில்லை. உங்களை நேரடியாக இணைக்கிறோம்.",
        "te": "అనువాదం ఇప్పుడు అందుబాటులో లేదు. మిమ్మల్ని నేరుగా కలుపుతున్నాము.",
        "kn": "ಅನುವಾದ ಈಗ ಲಭ್ಯವಿಲ್ಲ. ನಿಮ್ಮನ್ನು ನೇರವಾಗಿ ಸಂಪರ್ಕಿಸುತ್ತಿದ್ದೇವೆ.",
        "mr": "भाषांतर सध्या उपलब्ध नाही. तुम्हाला थेट जोडत आहोत.",
        "hi": "अनुवाद अभी उपलब्ध नहीं है। आपको सीधे जोड़ रहे हैं।",
    },
    "please-hold": {
        "ta": "தயவுசெய்து காத்திருங்கள்.",
        "te": "దయచేసి వేచి ఉండండి.",
        "kn": "ದಯವಿಟ್ಟು ಕಾಯಿರಿ.",
        "mr": "कृपया थांबा.",
        "hi": "कृपया प्रतीक्षा करें।",
    },
    "nobody-free": {
        "ta": "இப்போது யாரும் இல்லை. தயவுசெய்து பிறகு அழைக்கவும்.",
        "te": "ఇప్పుడు ఎవరూ అందుబాటులో లేరు. దయచేసి తర్వాత కాల్ చేయండి.",
        "kn": "ಈಗ ಯಾರೂ ಲಭ್ಯವಿಲ್ಲ. ದಯವಿಟ್ಟು ನಂತರ ಕರೆ ಮಾಡಿ.",
        "mr": "आत्ता कोणीही उपलब्ध नाही. कृपया नंतर फोन करा.",
        "hi": "अभी कोई उपलब्ध नहीं है। कृपया बाद में फ़ोन करें।",
    },
}
"""Text by name and caller language; the node's default language is spoken, for the caller's own is not known."""


def write_announcements(folder: Path, language: str, *, rate_wpm: int) -> bool:
    """Speaks every text into `folder` as `NAME.sln16` (s16le mono 16 kHz).

    Returns:
        False when there is no speech engine to do it; nothing is written then.
    """
    try:
        engine = Espeak(rate_wpm=rate_wpm)
        spoken = engine.speak([SynthesiseJob(texts[language], language) for texts in TEXTS.values()])
    except EngineError:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    for name, speech in zip(TEXTS, spoken, strict=True):
        (folder / f"{name}.sln16").write_bytes(speech.samples.astype("<i2").tobytes())
    return True
