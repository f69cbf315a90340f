from collections.abc import Iterable

import numpy as np
import pytest
from said import noise, said

from appliance.config.schema import Listen
from appliance.speech.endpoint import Heard
from appliance.speech.listen import Listener, ListenEvent, SpeechEnded, SpeechPaused, SpeechResumed, SpeechStarted
from appliance.speech.vad import WINDOW, WINDOW_S, VoiceActivity

LISTEN = Listen(endpoint_min_s=0.35, endpoint_max_s=0.7, min_speech_s=0.2, max_utterance_s=20.0, preroll_s=0.2)


def pattern(*parts: tuple[bool, float]) -> list[float]:
    """Probabilities for stretches of (speech?, seconds)."""
    return [0.95 if speech else 0.02 for speech, seconds in parts for _ in range(round(seconds / WINDOW_S))]


def feed(listener: Listener, probabilities: Iterable[float], start: int = 0) -> list[ListenEvent]:
    """Each window holds its own number, so that what came out can be told."""
    events: list[ListenEvent] = []
    for index, probability in enumerate(probabilities, start):
        events += listener.feed(np.full(WINDOW, index, np.int16), probability, (index + 1) * WINDOW_S)
    return events


def kinds(events: list[ListenEvent]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_one_utterance_with_preroll_and_a_short_tail() -> None:
    events = feed(Listener(LISTEN), pattern((False, 1.0), (True, 1.0), (False, 1.0)))
    assert kinds(events) == ["SpeechStarted", "SpeechPaused", "SpeechEnded"]
    started, paused, ended = events
    assert isinstance(started, SpeechStarted)
    assert isinstance(paused, SpeechPaused)
    assert isinstance(ended, SpeechEnded)
    utterance = ended.utterance
    assert started.at_s == utterance.started_s == pytest.approx(31 * WINDOW_S)
    assert [utterance.ended_s, paused.at_s] == pytest.approx([62 * WINDOW_S] * 2)
    assert utterance.decided_s - utterance.ended_s == pytest.approx(0.525, abs=WINDOW_S)
    numbers = utterance.audio.reshape(-1, WINDOW)[:, 0]
    assert list(numbers) == list(range(31 - 6, 62 + 5))
    assert paused.samples == len(utterance.audio), "a decode at the pause must be worth the same as one at the end"


def test_a_click_is_no_utterance_but_a_short_word_is() -> None:
    assert feed(Listener(LISTEN), pattern((False, 0.5), (True, 0.13), (False, 2.0))) == []
    assert kinds(feed(Listener(LISTEN), pattern((False, 0.5), (True, 0.26), (False, 2.0))))[-1] == "SpeechEnded"


def test_sparse_clicks_do_not_add_up_to_speech() -> None:
    assert feed(Listener(LISTEN), pattern(*[(True, 0.1), (False, 0.3)] * 20)) == []


def test_the_pause_before_going_on_does_not_end_the_utterance() -> None:
    events = feed(Listener(LISTEN), pattern((True, 1.0), (False, 0.3), (True, 1.0), (False, 1.0)))
    assert kinds(events) == ["SpeechStarted", "SpeechPaused", "SpeechResumed", "SpeechPaused", "SpeechEnded"]
    resumed, ended = events[2], events[4]
    assert isinstance(resumed, SpeechResumed)
    assert isinstance(ended, SpeechEnded)
    assert resumed.at_s == pytest.approx(1.3, abs=0.05)
    assert ended.utterance.started_s == 0.0
    assert ended.utterance.ended_s == pytest.approx(2.3, abs=0.05)


def test_what_the_recogniser_heard_ends_it_sooner_and_only_in_that_pause() -> None:
    listener = Listener(LISTEN)
    feed(listener, pattern((True, 1.0), (False, 0.2)))
    listener.heard(Heard("printer खराब है.", True))
    events = feed(listener, pattern((False, 0.5)), start=37)
    assert isinstance(events[0], SpeechEnded)
    assert events[0].utterance.decided_s - events[0].utterance.ended_s == pytest.approx(0.35, abs=WINDOW_S)

    listener = Listener(LISTEN)
    feed(listener, pattern((True, 1.0), (False, 0.2)))
    listener.heard(Heard("printer खराब है.", True))
    events = feed(listener, pattern((True, 0.5), (False, 1.0)), start=37)
    ended = events[-1]
    assert isinstance(ended, SpeechEnded)
    assert ended.utterance.decided_s - ended.utterance.ended_s > 0.45


def test_audio_so_far_grows_and_is_gone_after_the_end() -> None:
    listener = Listener(LISTEN)
    assert len(listener.audio_so_far()) == 0
    assert not listener.speaking
    feed(listener, pattern((True, 0.6)))
    assert listener.speaking
    assert len(listener.audio_so_far()) == listener.samples == len(pattern((True, 0.6))) * WINDOW
    feed(listener, pattern((False, 1.0)))
    assert not listener.speaking
    assert listener.samples == 0


def test_two_utterances_share_no_audio_and_lose_none_of_the_speech() -> None:
    events = feed(Listener(LISTEN), pattern((True, 0.8), (False, 0.7), (True, 0.8), (False, 1.0)))
    first, second = (event.utterance for event in events if isinstance(event, SpeechEnded))
    one, two = (set(item.audio.reshape(-1, WINDOW)[:, 0].tolist()) for item in (first, second))
    assert not one & two
    speech = {index for index, value in enumerate(pattern((True, 0.8), (False, 0.7), (True, 0.8))) if value > 0.5}
    assert speech <= one | two


def test_a_long_utterance_is_cut_in_its_longest_late_pause_and_nothing_is_lost() -> None:
    listen = Listen(max_utterance_s=4.0)
    parts = pattern((True, 2.2), (False, 0.19), (True, 0.8), (False, 0.13), (True, 2.0), (False, 1.0))
    events = feed(Listener(listen), parts)
    first, second = (event.utterance for event in events if isinstance(event, SpeechEnded))
    assert first.cut
    assert not second.cut
    assert first.ended_s == pytest.approx(2.3, abs=0.1)
    assert second.started_s == first.ended_s
    numbers = np.concatenate((first.audio, second.audio)).reshape(-1, WINDOW)[:, 0]
    assert list(numbers) == list(range(len(numbers))), "every window once, in order"


def test_without_any_pause_it_is_cut_where_it_is_quietest() -> None:
    listener = Listener(Listen(max_utterance_s=3.0))
    ended = []
    for index in range(120):
        level = 10 if index in (20, 70) else 3000
        window = noise(WINDOW_S, level, seed=index)
        ended += [event.utterance for event in listener.feed(window, 0.9, (index + 1) * WINDOW_S) if isinstance(event, SpeechEnded)]
    assert ended[0].cut
    assert ended[0].ended_s == pytest.approx(70 * WINDOW_S), "20 is too early"


def test_an_hour_of_talking_is_bounded() -> None:
    listener = Listener(Listen(max_utterance_s=5.0))
    window = noise(WINDOW_S, 2000)
    longest = 0
    for index in range(3000):
        listener.feed(window, 0.9, index * WINDOW_S)
        longest = max(longest, listener.samples)
    assert longest * WINDOW_S / WINDOW <= 5.1


@pytest.mark.parametrize("voice", ["ta", "te", "kn", "mr", "hi"])
def test_real_speech_in_line_noise(voice: str) -> None:
    """Two espeak-ng sentences with a second between: two utterances whose times are right to 120 ms."""
    text = {"ta": "என் printer வேலை செய்யவில்லை", "te": "నా printer పని చేయడం లేదు", "kn": "ನನ್ನ printer ಕೆಲಸ ಮಾಡುತ್ತಿಲ್ಲ"}.get(
        voice, "माझा printer काम करत नाही"
    )
    speech = said(text, voice)
    pcm = np.concatenate((noise(1.0, 40), speech, noise(1.0, 40, 2), speech, noise(1.2, 40, 3)))
    vad, listener = VoiceActivity(), Listener(LISTEN)
    stream, ended = vad.open(), []
    for index in range(len(pcm) // WINDOW):
        window = pcm[index * WINDOW : (index + 1) * WINDOW]
        probability = float(vad.run([stream], [window])[0])
        ended += [e.utterance for e in listener.feed(window, probability, (index + 1) * WINDOW_S) if isinstance(e, SpeechEnded)]
    length = len(speech) / 16_000
    assert len(ended) == 2
    for utterance, start in zip(ended, (1.0, 2.0 + length), strict=True):
        assert utterance.started_s == pytest.approx(start, abs=0.12)
        assert utterance.ended_s == pytest.approx(start + length, abs=0.12)


def doubted_voice(line_rms: float, doubt: float) -> list[ListenEvent]:
    """Somebody of whom the detector is sure for 0.3 s, doubts it for 1 s, and is sure again; at 3000, on a line that is so loud."""
    rng = np.random.default_rng(1)
    listener, events = Listener(LISTEN), []
    course = [(0.02, False, 1.0), (0.95, True, 0.3), (doubt, True, 1.0), (0.95, True, 0.3), (0.02, False, 1.0)]
    windows = [(probability, speaks) for probability, speaks, seconds in course for _ in range(round(seconds / WINDOW_S))]
    for number, (probability, speaks) in enumerate(windows, 1):
        pcm = rng.normal(0, np.hypot(3000 if speaks else 0, line_rms), WINDOW).astype(np.int16)
        events += listener.feed(pcm, probability, number * WINDOW_S)
    return [event for event in events if isinstance(event, SpeechEnded)]


def test_on_a_clear_line_a_loud_voice_goes_on_although_the_detector_doubts_it() -> None:
    (ended,) = doubted_voice(20.0, 0.15)
    assert isinstance(ended, SpeechEnded)
    assert ended.utterance.ended_s - ended.utterance.started_s == pytest.approx(1.6, abs=2 * WINDOW_S)


def test_on_a_noisy_line_or_where_it_is_surely_no_speech_only_the_detector_decides() -> None:
    assert len(doubted_voice(1000.0, 0.15)) == 2
    assert len(doubted_voice(20.0, 0.01)) == 2


@pytest.mark.parametrize(("line_rms", "found"), [(20.0, 1), (1000.0, 0)])
def test_a_voice_that_is_only_half_believed_begins_an_utterance_on_a_clear_line(line_rms: float, found: int) -> None:
    rng = np.random.default_rng(2)
    listener, events = Listener(LISTEN), []
    for number, probability in enumerate([0.02] * 31 + [0.3] * 31 + [0.02] * 31, 1):
        pcm = rng.normal(0, np.hypot(3000 if probability > 0.1 else 0, line_rms), WINDOW).astype(np.int16)
        events += listener.feed(pcm, probability, number * WINDOW_S)
    assert len([event for event in events if isinstance(event, SpeechEnded)]) == found
