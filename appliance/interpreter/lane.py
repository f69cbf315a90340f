"""One direction of a call: from what a party says to what the other one hears.

The clock tells of speech. While it goes on, partial decodes commit what is certain, and each committed segment is rendered at
once. In every pause the final decode and its rendition are begun on the chance that the utterance is over, so that at the end
of it the audio is there. Whatever is to be played waits in order behind what was said before.
"""

from __future__ import annotations

from appliance.events import LaneName, Party
from appliance.interpreter.delivery import Delivery
from appliance.interpreter.hearing import Hearing
from appliance.interpreter.leg import Leg
from appliance.interpreter.models_protocol import Samples
from appliance.interpreter.recogniser import Recogniser
from appliance.interpreter.refusals import Refusals
from appliance.interpreter.rendition import Result
from appliance.interpreter.scope import CallScope
from appliance.interpreter.tasks import Tasks
from appliance.interpreter.understanding import Understanding
from appliance.speech.listen import ListenEvent, SpeechEnded, SpeechPaused, SpeechResumed, SpeechStarted, Utterance
from appliance.speech.vad import RATE


class Lane:
    """From `speaker` to `listener`; `start` it once both are attached.

    Args:
        numbered: the highest number that an utterance of this lane may have already.
    """

    def __init__(self, name: LaneName, scope: CallScope, numbered: int = 0) -> None:
        self.name = name
        self.speaker: Party = "caller" if name == "caller_to_agent" else "agent"
        self.listener: Party = "agent" if self.speaker == "caller" else "caller"
        self._scope = scope
        self._tasks = Tasks(f"{scope.call_id} {name}")
        recogniser = Recogniser(self.speaker, scope)
        refusals = Refusals(self.speaker, scope, recogniser.doubt)
        self._delivery = Delivery(name, self.listener, scope, refusals.told)
        self._understanding = Understanding(name, self.speaker, scope, recogniser, self._tasks, self._delivery.put, refusals.told)
        self._hearing: Hearing | None = None
        self._cut: Hearing | None = None
        """What has just ended although the speaker goes on."""
        self._utterances = numbered
        self._running = False

    def start(self) -> None:
        self._running = True
        self._tasks.start(self._delivery.run(), "play")

    async def stop(self) -> None:
        """End all work; what was queued and never begun is published as failed."""
        self._running = False
        await self._tasks.stop()
        self._delivery.close()

    def suspend(self) -> None:
        """Interpret nothing for a while; what was understood is still played."""
        self._running = False
        if self._hearing is not None:
            self._hearing.drop_ahead()

    def resume(self) -> None:
        """Interpret again, beginning with what is being said now, but for what was handed out of it before."""
        self._running = True

    def bridge_wait(self, late: bool) -> None:
        """To be called several times a second: see `Delivery.bridge_wait`."""
        self._delivery.bridge_wait(late and self._running)

    @property
    def last_utterance(self) -> Utterance | None:
        """The last one that was understood, with its audio."""
        return self._understanding.last_utterance

    def last_heard(self) -> tuple[int, Samples] | None:
        """Number and audio of what the listener heard last, or hears, as far as it was said; None before that."""
        number = self._delivery.begun
        utterance = self._understanding.recent.get(number)
        if utterance is not None:
            return number, utterance.audio
        leg = self._scope.legs.get(self.speaker)
        if leg is None or self._hearing is None or self._hearing.number != number:
            return None
        return number, leg.listener.audio_so_far()

    @property
    def tasks(self) -> int:
        return len(self._tasks)

    @property
    def busy(self) -> bool:
        """Whether something was said that is neither queued for the listener nor given up."""
        return self._running and (self._hearing is not None or self._delivery.busy)

    def repeat(self) -> bool:
        """Play the last translation again; False when there is none, or as much as that is waiting to be played."""
        return self._delivery.repeat()

    def on_started(self, key: str, now_s: float) -> None:
        """The listener's leg sends the first frame of a translation."""
        self._delivery.on_started(key, now_s)

    def on_ended(self, key: str) -> None:
        """The listener has heard a translation to its end."""
        self._delivery.on_ended(key)

    # What the speaker's leg tells

    def on_listen(self, leg: Leg, events: list[ListenEvent], now_s: float) -> None:
        if not self._running:
            if any(isinstance(event, SpeechStarted | SpeechEnded) for event in events):
                self._forget()
            return
        for event in events:
            match event:
                case SpeechStarted(at_s=at_s):
                    self._begin(at_s)
                case SpeechPaused(samples=samples):
                    self._paused(leg, samples, now_s)
                case SpeechResumed():
                    if self._hearing is not None:
                        self._hearing.drop_ahead()
                case SpeechEnded(utterance=utterance):
                    self._ended(leg, utterance, now_s)
        if leg.listener.speaking:
            hearing = self._hearing or self._begin(now_s)
            due = now_s - hearing.partial_at_s >= self._scope.config.recognise.partial_every_s
            if due and not hearing.paused and (hearing.partial is None or hearing.partial.done()):
                self._start_partial(leg, hearing, now_s)

    def _begin(self, at_s: float) -> Hearing:
        self._utterances += 1
        self._hearing = Hearing(self._utterances, at_s, partial_at_s=at_s, cut_from=self._cut)
        self._cut = None
        if self.speaker == "caller" and self._scope.first_speech_s is None:
            self._scope.first_speech_s = at_s
        return self._hearing

    def _forget(self) -> None:
        hearing, self._hearing, self._cut = self._hearing, None, None
        if hearing is not None:
            hearing.over = True

    def _start_partial(self, leg: Leg, hearing: Hearing, now_s: float) -> None:
        pcm = leg.listener.audio_so_far()
        hearing.partial_at_s = now_s
        if leg.echoes(pcm, now_s - len(pcm) / RATE, now_s):
            return
        if leg.playout.playing == "prompt":
            self._scope.flush_prompts(self.speaker)
        hearing.partial = self._tasks.start(self._understanding.partial(hearing, pcm, now_s), f"partial {hearing.number}")

    def _paused(self, leg: Leg, samples: int, now_s: float) -> None:
        hearing = self._hearing
        if hearing is None:
            return
        pcm = leg.listener.audio_so_far()[:samples]
        if leg.echoes(pcm, now_s - len(pcm) / RATE, now_s):
            return
        hearing.ahead_samples = samples
        hearing.ahead = self._tasks.start(self._understanding.work_ahead(leg, hearing, pcm, now_s), f"ahead {hearing.number}")

    def _ended(self, leg: Leg, utterance: Utterance, now_s: float) -> None:
        hearing = self._hearing or self._begin(utterance.started_s)
        self._hearing = None
        self._cut = hearing if utterance.cut else None
        hearing.over = True
        if hearing.ahead is not None and hearing.ahead_samples != len(utterance.audio):
            hearing.drop_ahead()
        if leg.echoes(utterance.audio, utterance.audio_s, now_s):
            hearing.drop_ahead()
            hearing.left_known.set()
            self._understanding.nothing(hearing, utterance, Result("silence", "echo"))
            return
        self._delivery.put(self._tasks.start(self._understanding.conclude(hearing, utterance), f"conclude {hearing.number}"))
