import asyncio
import time
from collections.abc import Callable

import numpy as np
import pytest
from lane_rig import LoudDetector, Phone

from appliance.config.schema import Config
from appliance.interpreter.clock import MediaClock
from appliance.interpreter.leg import PREBUFFER, Leg
from appliance.speech.listen import ListenEvent
from appliance.speech.vad import WINDOW
from appliance.telemetry import metrics
from appliance.telephony.media import FRAME_S


class Watcher:
    def __init__(self) -> None:
        self.events: list[ListenEvent] = []
        self.ended: list[str] = []
        self.started: list[str] = []
        self.lost: list[str] = []
        self.silent: list[float] = []

    def on_listen(self, leg: Leg, events: list[ListenEvent], now_s: float) -> None:
        self.events += events

    def on_started(self, leg: Leg, key: str, now_s: float) -> None:
        self.started.append(key)

    def on_ended(self, leg: Leg, key: str) -> None:
        self.ended.append(key)

    def on_silent(self, leg: Leg, seconds: float) -> None:
        self.silent.append(seconds)

    def on_lost(self, leg: Leg, reason: str) -> None:
        self.lost.append(reason)


class CountingDetector(LoudDetector):
    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.closed: list[int] = []

    def run(self, streams: list[int], windows: list[np.ndarray]) -> np.ndarray:
        assert all(len(window) == WINDOW for window in windows)
        self.batches.append(len(streams))
        return super().run(streams, windows)

    def close(self, stream: int) -> None:
        self.closed.append(stream)


def leg_of(clock: MediaClock) -> tuple[Leg, Phone, Watcher]:
    phone, watcher = Phone(), Watcher()
    leg = Leg("caller", phone, Config(), watcher)
    clock.add(leg)
    return leg, phone, watcher


async def test_it_keeps_the_time_and_the_frames_never_stop() -> None:
    clock = MediaClock(LoudDetector())
    _, phone, _ = leg_of(clock)
    running = asyncio.create_task(clock.run())
    begun = time.monotonic()
    await asyncio.sleep(0.5)
    ticks = (time.monotonic() - begun) / FRAME_S
    running.cancel()
    assert ticks + PREBUFFER - clock.late - 2 <= len(phone.frames) <= ticks + PREBUFFER + 1


async def test_after_a_stall_only_what_was_sent_ahead_is_made_up_for() -> None:
    clock = MediaClock(LoudDetector())
    _, phone, _ = leg_of(clock)
    running = asyncio.create_task(clock.run())
    await asyncio.sleep(0.1)
    before, begun = len(phone.frames), time.monotonic()
    time.sleep(0.3)  # noqa: ASYNC251 - the stall
    await asyncio.sleep(0.1)
    ticks = (time.monotonic() - begun) / FRAME_S
    running.cancel()
    assert clock.late >= 13
    assert len(phone.frames) - before <= ticks - 15 + PREBUFFER + 2, "15 frames were never due any more"


async def test_windows_of_all_legs_are_one_run() -> None:
    detector = CountingDetector()
    clock = MediaClock(detector)
    legs = [leg_of(clock)[0] for _ in range(5)]
    for leg in legs:
        leg._receive(bytes(2 * WINDOW))
    clock.tick(1.0)
    assert detector.batches == [5]


async def test_a_burst_is_taken_window_by_window_with_the_times_at_which_it_was_said() -> None:
    clock = MediaClock(LoudDetector())
    leg, _, watcher = leg_of(clock)
    loud = (np.where(np.arange(16_000) // 20 % 2, 1, -1) * 4000).astype(np.int16)
    leg._receive(loud.tobytes())
    clock.tick(10.0)
    started = watcher.events[0]
    assert started.at_s == pytest.approx(9.0, abs=0.05)  # type: ignore[union-attr]


async def test_a_leg_that_raises_is_lost_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    detector = CountingDetector()
    clock = MediaClock(detector)
    _, broken_phone, watcher = leg_of(clock)
    _, phone, _ = leg_of(clock)

    def raise_it(pcm: bytes) -> None:
        raise RuntimeError("no")

    broken_phone.send = raise_it  # type: ignore[method-assign]
    for _ in range(3):
        clock.tick(1.0)
    assert watcher.lost == ["broke: no"]
    assert clock.legs == 1
    assert detector.closed == [1]
    assert len(phone.frames) == 3 + PREBUFFER
    assert "a leg broke" in caplog.text


async def test_odd_packets_are_reframed_for_the_other_party() -> None:
    clock = MediaClock(LoudDetector())
    leg, _, _ = leg_of(clock)
    ramp = np.arange(960, dtype=np.int16)
    for part in np.split(ramp, [100, 101, 500]):
        leg._receive(part.tobytes())
    got = [leg.take_original() for _ in range(4)]
    assert got[3] is None
    np.testing.assert_array_equal(np.frombuffer(b"".join(part for part in got if part), np.int16), ramp)


async def test_the_other_partys_voice_is_never_more_than_a_tenth_of_a_second_late() -> None:
    clock = MediaClock(LoudDetector())
    leg, _, _ = leg_of(clock)
    for index in range(50):
        leg._receive(np.full(320, index, np.int16).tobytes())
    first = leg.take_original()
    assert first is not None
    assert np.frombuffer(first, np.int16)[0] == 45


async def test_parties_hear_each_other_quietly_whatever_their_number() -> None:
    clock = MediaClock(LoudDetector())
    pairs = [(leg_of(clock), leg_of(clock)) for _ in range(3)]
    for (caller, _, _), (agent, _, _) in pairs:
        caller.peer, agent.peer = agent, caller
    for tick in range(4):
        for number, ((caller, _, _), (agent, _, _)) in enumerate(pairs, 1):
            caller._receive(np.full(320, 1000 * number, np.int16).tobytes())
            agent._receive(np.full(320, -1000 * number, np.int16).tobytes())
        clock.tick(tick * FRAME_S)
    for number, ((_, caller_phone, _), (_, agent_phone, _)) in enumerate(pairs, 1):
        assert len(caller_phone.frames) == len(agent_phone.frames) == 4 + PREBUFFER
        np.testing.assert_array_equal(agent_phone.frames[-1], np.full(320, 100 * number), "20 dB down, as configured")
        np.testing.assert_allclose(caller_phone.frames[-1], np.full(320, -100 * number), atol=1)


async def test_a_leg_that_cannot_send_a_voice_is_lost_and_the_others_go_on() -> None:
    clock = MediaClock(LoudDetector())
    (caller, caller_phone, lost), (agent, agent_phone, _) = leg_of(clock), leg_of(clock)
    caller.peer, agent.peer = agent, caller
    for tick in range(6):
        caller._receive(np.full(320, 1000, np.int16).tobytes())
        agent._receive(np.full(320, 1000, np.int16).tobytes())
        if tick == 3:
            caller_phone.send = lambda pcm: 1 / 0  # type: ignore[assignment, return-value]
        clock.tick(tick * FRAME_S)
    assert lost.lost == ["broke: division by zero"]
    assert len(agent_phone.frames) == 6 + PREBUFFER


async def test_audio_that_a_transport_feeds_makes_no_events_and_ends_with_the_reading() -> None:
    class Feeding(Phone):
        take: Callable[[bytes], None] | None = None

        def feed(self, take: Callable[[bytes], None] | None) -> None:
            self.take = take

    phone = Feeding()
    leg = Leg("caller", phone, Config(), Watcher())
    reading = asyncio.create_task(leg.run())
    await asyncio.sleep(0)
    assert phone.take is not None
    phone.take(bytes(2 * WINDOW))
    window = leg.window()
    assert window is not None
    assert len(window) == WINDOW
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert phone.take is None


async def test_marks_come_back_as_ends() -> None:
    clock = MediaClock(LoudDetector())
    leg, phone, watcher = leg_of(clock)
    reading = asyncio.create_task(leg.run())
    leg.playout.add("translation", np.ones(3200, np.int16), started="k", ended="k")
    for _ in range(20):
        phone.tick()
        clock.tick(1.0)
        await asyncio.sleep(0)
    assert watcher.started == watcher.ended == ["k"]
    reading.cancel()


async def test_received_audio_is_not_taken_for_missing_audio() -> None:
    clock = MediaClock(LoudDetector())
    leg, _, _ = leg_of(clock)
    for index in range(40):
        if index % 4 == 0:  # 80 ms packets
            leg._receive(bytes(4 * 640))
        clock.tick(index * 0.02)
    assert len(leg._inbound) < 2 * WINDOW, "no silence was added to it"
    assert leg._ticks_without_audio <= 4


def gaps() -> float:
    return metrics.REGISTRY.get_sample_value("setu_media_gaps_total", {"party": "caller"}) or 0.0


async def test_a_stretch_without_audio_is_one_gap_however_long_and_the_next_one_another() -> None:
    clock = MediaClock(LoudDetector())
    leg, _, _ = leg_of(clock)
    before = gaps()
    leg._receive(bytes(640))
    for index in range(5):
        clock.tick(index * FRAME_S)
    assert gaps() == before, "a tenth of a second is jitter"
    for index in range(5, 60):
        clock.tick(index * FRAME_S)
    assert gaps() == before + 1
    leg._receive(bytes(640))
    for index in range(60, 80):
        clock.tick(index * FRAME_S)
    assert gaps() == before + 2


async def test_a_leg_without_audio_is_told_of_every_two_seconds_until_audio_comes() -> None:
    clock = MediaClock(LoudDetector())
    leg, _, watcher = leg_of(clock)
    leg._receive(bytes(640))
    for index in range(round(5.0 / FRAME_S)):
        clock.tick(index * FRAME_S)
    assert watcher.silent == pytest.approx([2.0, 4.0])
    leg._receive(bytes(640))
    for index in range(round(1.9 / FRAME_S)):
        clock.tick(5 + index * FRAME_S)
    assert len(watcher.silent) == 2


async def test_a_leg_goes_on_with_another_transport_and_loses_nothing_of_what_is_queued() -> None:
    clock = MediaClock(LoudDetector())
    leg, old, watcher = leg_of(clock)
    wave = np.where(np.arange(16_000) // 20 % 2, 700, -700).astype(np.int16)
    leg.playout.add("translation", wave[:3200], started="a", ended="a")
    leg.playout.add("translation", wave, started="b", ended="b")
    for index in range(20):
        clock.tick(index * FRAME_S)
    assert watcher.ended == [], "its mark has not come back"
    new = Phone()
    leg.rewire(new)
    assert watcher.ended == ["a"]
    reading = asyncio.create_task(leg.run())
    for index in range(20, 90):
        clock.tick(index * FRAME_S)
        new.tick()
        await asyncio.sleep(0)
    reading.cancel()
    assert watcher.started == watcher.ended == ["a", "b"]
    assert len(old.heard(700)) + len(new.heard(700)) == 10 + 50
    assert not watcher.lost
    assert watcher.events == []
