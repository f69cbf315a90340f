from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest
from scripted_socket import ScriptedSocket, settle

from appliance.telephony import websocket_media
from appliance.telephony.errors import MediaNotConnected
from appliance.telephony.media import FRAME_BYTES, AudioReceived, MarkReached, MediaEnded, MediaEvent, MediaStarted
from appliance.telephony.media_gate import MediaGate
from appliance.telephony.socket import POLICY, PROTOCOL_ERROR, TOO_BIG
from appliance.telephony.websocket_media import IN_EVENTS, MAX_BINARY, MAX_MALFORMED, OUT_FRAMES, WebSocketMedia

FRAME = bytes(range(256)) * 2 + bytes(128)
START = json.dumps(
    {
        "event": "MEDIA_START",
        "connection_id": "setu-media-1",
        "channel": "WebSocket/setu-media-1/0x1",
        "channel_id": "setu-1-x-caller-media",
        "format": "slin16",
        "optimal_frame_size": 640,
        "ptime": 20,
        "channel_variables": {"A": "b"},
    }
)


class Leg:
    def __init__(self, leg: str = "") -> None:
        self.socket = ScriptedSocket()
        self.counts: Counter[str] = Counter()
        self.media = WebSocketMedia(self.socket, leg, counted=self._count)
        self.task: asyncio.Task[None] | None = None

    def _count(self, what: str, times: int) -> None:
        self.counts[what] += times

    def start(self) -> None:
        self.task = asyncio.create_task(self.media.serve())

    async def all_events(self) -> list[MediaEvent]:
        return [event async for event in self.media.events()]


@pytest.fixture
async def leg() -> AsyncIterator[Leg]:
    leg = Leg()
    leg.start()
    yield leg
    await leg.media.close()
    assert leg.task is not None
    await asyncio.wait_for(leg.task, 10)


async def test_a_call_in_order_with_audio_before_the_start(leg: Leg) -> None:
    mark = json.dumps({"event": "MEDIA_MARK_PROCESSED", "channel_id": "c", "correlation_id": "u1"})
    leg.socket.arrives(FRAME, START, FRAME[:320], mark)
    await settle()
    leg.socket.peer_closes()
    events = await leg.all_events()
    assert events[:-1] == [AudioReceived(FRAME), MediaStarted("setu-1-x-caller-media"), AudioReceived(FRAME[:320]), MarkReached("u1")]
    assert isinstance(events[-1], MediaEnded)
    assert leg.media.leg == "setu-1-x-caller-media"
    assert leg.media.closed_by == "there"


async def test_frames_and_marks_leave_in_order(leg: Leg) -> None:
    leg.media.send(FRAME)
    await settle()
    leg.media.mark("u1")
    leg.media.send(FRAME)
    await settle()
    assert leg.socket.sent == [FRAME, '{"command":"MARK_MEDIA","correlation_id":"u1"}', FRAME]


async def test_a_backlog_goes_in_large_messages_and_marks_keep_their_place(leg: Leg) -> None:
    leg.socket.taking.clear()
    for number in range(5):
        leg.media.send(FRAME)
        if number == 2:
            leg.media.mark("m")
    leg.socket.taking.set()
    await settle()
    assert [message if isinstance(message, str) else len(message) // FRAME_BYTES for message in leg.socket.sent] == [
        3,
        '{"command":"MARK_MEDIA","correlation_id":"m"}',
        2,
    ]


async def test_nothing_is_sent_between_xoff_and_xon_and_the_surplus_is_dropped(leg: Leg) -> None:
    leg.socket.arrives('{"event": "MEDIA_XOFF", "channel_id": "c"}')
    await settle()
    for _ in range(OUT_FRAMES + 7):
        leg.media.send(FRAME)
    await settle()
    assert leg.socket.sent == []
    assert leg.counts == {"xoff": 1, "late-out": 7}
    leg.socket.arrives('{"event": "MEDIA_XON", "channel_id": "c"}')
    await settle()
    assert sum(len(message) for message in leg.socket.sent) == OUT_FRAMES * FRAME_BYTES
    leg.media.send(FRAME)
    await settle()
    assert leg.socket.sent[-1] == FRAME


async def test_flush_gives_up_what_waits_even_while_paused(leg: Leg) -> None:
    leg.socket.arrives('{"event": "MEDIA_XOFF"}')
    await settle()
    leg.media.send(FRAME)
    leg.media.flush()
    await settle()
    assert leg.socket.sent == ['{"command":"FLUSH_MEDIA"}']


async def test_a_socket_that_takes_nothing_is_given_up(leg: Leg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_media, "STALL_S", 0.05)
    leg.socket.taking.clear()
    leg.media.send(FRAME)
    await asyncio.wait_for(leg.media.closed.wait(), 15)  # looked at every 2.5 s
    assert leg.counts["stalled"] == 1
    leg.media.send(FRAME)
    leg.media.mark("late")
    assert leg.counts["late-out"] == 0


async def test_unread_audio_is_bounded_and_marks_survive(leg: Leg) -> None:
    leg.socket.arrives(START, *[FRAME] * (IN_EVENTS + 50), '{"event": "MEDIA_MARK_PROCESSED", "correlation_id": "m"}')
    await settle(IN_EVENTS + 100)
    await leg.media.close()
    events = await leg.all_events()
    assert len(events) == IN_EVENTS
    assert events[0] == MediaStarted("setu-1-x-caller-media")
    assert events[-2] == MarkReached("m")
    assert leg.counts["unread-in"] == 53


@pytest.mark.parametrize("message", ["{", "[]", '{"event": 5}', '{"x": 1}', "", b"odd", "[" * 8_000])
async def test_malformed_messages_are_counted_and_then_end_the_leg(leg: Leg, message: str | bytes) -> None:
    leg.socket.arrives(*[message] * (MAX_MALFORMED - 1), FRAME)
    await settle(60)
    assert leg.socket.closed_with is None
    leg.socket.arrives(message)
    await asyncio.wait_for(leg.media.closed.wait(), 10)
    assert leg.socket.closed_with == PROTOCOL_ERROR
    assert leg.counts["odd-length" if isinstance(message, bytes) else "malformed"] == MAX_MALFORMED
    assert (await leg.all_events())[0] == AudioReceived(FRAME)


@pytest.mark.parametrize("message", [bytes(MAX_BINARY + 2), '{"event": "' + "x" * 9_000 + '"}'])
async def test_an_oversized_message_ends_the_leg(leg: Leg, message: str | bytes) -> None:
    leg.socket.arrives(message)
    await asyncio.wait_for(leg.media.closed.wait(), 10)
    assert leg.socket.closed_with == TOO_BIG
    assert leg.counts == {"too-big": 1}


async def test_unknown_control_events_are_ignored(leg: Leg) -> None:
    leg.socket.arrives('{"event": "QUEUE_DRAINED"}', '{"event": "DTMF_END", "digit": "5"}', '{"event": "OF_THE_FUTURE"}')
    await settle()
    assert not leg.counts
    assert leg.socket.closed_with is None


async def test_a_mark_that_asterisk_would_not_read_is_refused(leg: Leg) -> None:
    with pytest.raises(ValueError, match="128 bytes"):
        leg.media.mark("m" * 120)


async def test_close_ends_events(leg: Leg) -> None:
    await leg.media.close()
    assert await leg.all_events() == [MediaEnded("closed by the gateway")]
    assert leg.media.closed_by == "here"


async def test_the_gate_matches_by_address_or_by_media_start() -> None:
    for known in ("setu-1-x-caller-media", ""):
        gate = MediaGate()
        expected = gate.expect("setu-1-x-caller-media")
        leg = Leg(known)
        serving = asyncio.create_task(gate.serve(leg.media, leg.socket))
        leg.socket.arrives(FRAME, START)
        assert await asyncio.wait_for(expected, 10) is leg.media
        assert gate.open == {leg.media}
        gate.forget("setu-1-x-caller-media")
        leg.socket.peer_closes()
        await asyncio.wait_for(serving, 10)
        assert not gate.open
        assert not gate.waiting


async def test_the_gate_turns_away_who_is_not_expected() -> None:
    gate = MediaGate()
    leg = Leg("setu-1-nobody")
    with pytest.raises(MediaNotConnected, match="setu-1-nobody"):
        await gate.serve(leg.media, leg.socket)
    assert leg.socket.closed_with == POLICY
    assert not gate.open


async def test_a_second_socket_for_a_leg_is_turned_away() -> None:
    gate = MediaGate()
    gate.expect("leg")
    first, second = Leg("leg"), Leg("leg")
    serving = asyncio.create_task(gate.serve(first.media, first.socket))
    await settle()
    with pytest.raises(MediaNotConnected):
        await gate.serve(second.media, second.socket)
    assert gate.open == {first.media}
    first.socket.peer_closes()
    await asyncio.wait_for(serving, 10)


class Direct:
    """A `ShortCut` whose peer reads or does not."""

    def __init__(self, socket: ScriptedSocket) -> None:
        self.open = True
        self.take: Callable[[bytes], None] = lambda payload: None
        self._socket = socket

    def hand_over(self, take: Callable[[bytes], None], size: int) -> None:
        assert size == FRAME_BYTES
        self.take = take

    def send_now(self, payload: bytes) -> bool:
        if self.open:
            self._socket.sent.append(payload)
        return self.open


@pytest.fixture
async def short(leg: Leg) -> AsyncIterator[tuple[WebSocketMedia, ScriptedSocket, Direct]]:
    socket = ScriptedSocket()
    direct = Direct(socket)
    media = WebSocketMedia(socket, "leg", counted=leg._count, short_cut=direct)
    task = asyncio.create_task(media.serve())
    await settle()
    yield media, socket, direct
    await media.close()
    await asyncio.wait_for(task, 10)


async def test_frames_go_out_at_once_and_never_before_what_waits(short: tuple[WebSocketMedia, ScriptedSocket, Direct]) -> None:
    media, socket, direct = short
    media.send(FRAME)
    assert socket.sent == [FRAME], "without waiting for a task"
    media.mark("u1")
    media.send(FRAME[::-1])
    await settle()
    assert socket.sent == [FRAME, '{"command":"MARK_MEDIA","correlation_id":"u1"}', FRAME[::-1]]
    direct.open = False
    media.send(FRAME)
    direct.open = True
    media.send(FRAME[::-1])
    await settle()
    assert socket.sent[3:] == [FRAME + FRAME[::-1]]


async def test_a_frame_does_not_overtake_one_that_is_being_sent(short: tuple[WebSocketMedia, ScriptedSocket, Direct]) -> None:
    media, socket, direct = short
    socket.taking.clear()
    direct.open = False
    media.send(FRAME)
    await settle()
    direct.open = True
    media.send(FRAME[::-1])
    assert socket.sent == []
    socket.taking.set()
    await settle()
    assert socket.sent == [FRAME, FRAME[::-1]]


async def test_no_frame_goes_out_after_xoff_or_the_end(short: tuple[WebSocketMedia, ScriptedSocket, Direct]) -> None:
    media, socket, _ = short
    socket.arrives('{"event": "MEDIA_XOFF"}')
    await settle()
    media.send(FRAME)
    await settle()
    assert socket.sent == []
    await media.close()
    media.send(FRAME)
    assert socket.sent == []


async def test_audio_goes_to_whom_it_is_fed_and_else_becomes_events(short: tuple[WebSocketMedia, ScriptedSocket, Direct]) -> None:
    media, socket, direct = short
    direct.take(FRAME)
    taken: list[bytes] = []
    media.feed(taken.append)
    direct.take(FRAME[::-1])
    socket.arrives(FRAME[:320], b"odd")
    await settle()
    assert taken == [FRAME[::-1], FRAME[:320]]
    media.feed(None)
    direct.take(FRAME)
    await media.close()
    assert [event async for event in media.events()] == [AudioReceived(FRAME), AudioReceived(FRAME), MediaEnded("closed by the gateway")]
