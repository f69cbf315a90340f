"""Strangers at the gateway's sockets while a call runs: turned away, counted, and neither heard nor felt in the call."""

from __future__ import annotations

import base64
import contextlib
import json
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from hostile_gateway import Target, attacked_gateway, closing_code, gone, until

from appliance.bench import wire
from appliance.telephony.key_rate import BURST, PER_SECOND
from appliance.web.entrance import HEAD_BYTES, HEAD_S, MOST, allow_many_files
from appliance.web.sockets import PING_S

pytestmark = pytest.mark.timeout(120)
ARI, MEDIA = "/ari/setu-1", "/media/setu-1"


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with tempfile.TemporaryDirectory(prefix="setu-hostile-") as folder, attacked_gateway(Path(folder)) as attacked:
        yield attacked


def wrong(user: str) -> str:
    return "Basic " + base64.b64encode(user.encode()).decode()


@pytest.mark.parametrize(
    ("path", "protocol", "authorization", "where", "what"),
    [
        (ARI, "ari", None, "ari", "credentials"),
        (ARI, "ari", wrong("setu:wrong"), "ari", "credentials"),
        (ARI, "ari", wrong("setu:"), "ari", "credentials"),
        (ARI, "ari", "Bearer anything", "ari", "credentials"),
        (ARI, "ari", "Basic \xff\xfe====", "ari", "credentials"),
        (MEDIA, "media", wrong("setu:wrong"), "media", "credentials"),
        (MEDIA + "?leg=setu-1-x-caller-media", "media", None, "media", "credentials"),
        ("/ari/setu-2", "ari", "right", "ari", "application"),
        ("/ari/setu-1%20", "ari", "right", "ari", "application"),
        (ARI, "media", "right", "ari", "subprotocol"),
        (ARI, "", "right", "ari", "subprotocol"),
        (MEDIA, "ari", "right", "media", "subprotocol"),
    ],
)
def test_a_socket_that_is_not_asterisks_is_refused(
    target: Target, path: str, protocol: str, authorization: str | None, where: str, what: str
) -> None:
    before = target.rejected(where, what)
    connection, status = target.upgrade(path, protocol, target.authorization if authorization == "right" else authorization)
    with connection:
        assert status == 403
    target.rejects(before + 1, where, what)


def test_a_socket_at_an_address_that_does_not_exist_is_refused(target: Target) -> None:
    before = target.rejected("http", "404") + target.rejected("http", "400")
    for path in ("/", "/ari", "/health", "/nothing/here", "/ari/..%2Fsetu-1"):
        connection, status = target.upgrade(path, "ari", target.authorization)
        with connection:
            assert status == 403, path
    assert target.rejected("http", "404") + target.rejected("http", "400") == before + 5


@pytest.mark.parametrize("protocol", ["a b", "(ari)"])
def test_a_handshake_against_the_rules_is_answered_400(target: Target, protocol: str) -> None:
    before = target.rejected("connection", "handshake")
    connection, status = target.upgrade(ARI, protocol, target.authorization)
    with connection:
        assert status == 400
    target.rejects(before + 1, "connection", "handshake")


def test_a_media_socket_for_no_leg_or_for_one_that_has_its_socket_is_closed(target: Target) -> None:
    taken = next(iter(target.call.legs()))
    before = target.rejected("media", "unknown-leg")
    with target.undisturbed():
        for leg in ("setu-1-20260101-000000-0000-caller-media", taken, "../../etc/passwd"):
            connection, status = target.upgrade(f"{MEDIA}?leg={leg}", "media", target.authorization)
            with connection:
                assert status == 101
                assert closing_code(connection) == 1008
    target.rejects(before + 3, "media", "unknown-leg")


def frame(first: int, payload: bytes) -> bytes:
    return wire.client_frame(first, payload)


TEXT_PART, MORE, LAST = 0x01, 0x00, 0x80
"""First bytes: a text message that goes on, a piece in the middle, the last one."""
MALFORMED: dict[str, tuple[Callable[[], bytes], set[int]]] = {
    "not masked": (lambda: b"\x82\x02ab", {1002}),
    "a kind that does not exist": (lambda: frame(0x83, b"x"), {1002}),
    "reserved bits": (lambda: frame(0xF2, b"x"), {1002}),
    "a piece of nothing": (lambda: frame(LAST, b"x"), {1002}),
    "a ping of 200 bytes": (lambda: frame(wire.PING, b"x" * 200), {1002}),
    "text that is no UTF-8": (lambda: frame(wire.TEXT, b"\xff\xfe\xc0"), {1007}),
    "a length of half the address space": (lambda: b"\x82\xff" + struct.pack(">Q", 1 << 62) + bytes(4), {1009}),
    "a length of 16 MB": (lambda: b"\x82\xff" + struct.pack(">Q", 1 << 24) + bytes(4), {1009}),
    "audio of 100 kB in one message": (lambda: frame(wire.BINARY, bytes(100_000)), {1009}),
    "text of 10 kB": (lambda: frame(wire.TEXT, b"{" * 10_000), {1009}),
    "twenty texts that are no JSON": (lambda: frame(wire.TEXT, b"no") * 20, {1002}),
    "twenty texts of deep JSON": (lambda: frame(wire.TEXT, b"[" * 4000) * 20, {1002}),
    "twenty numbers of bytes that are odd": (lambda: frame(wire.BINARY, b"abc") * 20, {1002}),
    "5 MB in pieces": (lambda: frame(TEXT_PART, b"x") + frame(MORE, bytes(65_536)) * 80, {1009}),
    "pieces without content, without end": (lambda: frame(TEXT_PART, b"x") + frame(MORE, b"") * 50_000, {1009}),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_message_ends_its_socket_and_nothing_else(target: Target, name: str) -> None:
    make, codes = MALFORMED[name]
    whats = {1002: ("frame", "malformed", "odd-length"), 1007: ("not-utf8",), 1009: ("too-big",)}[min(codes)]

    def counted() -> int:
        return sum(target.rejected("media", what) for what in whats)

    before = counted()
    connection, status = target.upgrade(MEDIA, "media", target.authorization)
    assert status == 101
    with connection, target.undisturbed():
        try:
            connection.sendall(make())
            assert closing_code(connection) in codes
        except (ConnectionError, BrokenPipeError):
            pass  # closed before everything was sent
    until(lambda: counted() > before, "its being counted")


def test_pings_of_somebody_who_does_not_read_are_not_kept(target: Target) -> None:
    before = target.rejected("connection", "pings")
    connection, _ = target.upgrade(MEDIA, "media", target.authorization)
    with connection, target.undisturbed(grows_mb=12.0):
        connection.settimeout(2)
        pings = frame(wire.PING, b"x" * 125) * 500
        with contextlib.suppress(ConnectionError, TimeoutError):
            for _ in range(1000):
                connection.sendall(pings)
            pytest.fail("65 MB of pongs are owed to somebody who reads none")
    target.rejects(before + 1, "connection", "pings")


FORGED: list[object] = [
    {"type": "StasisStart"},
    {"type": "StasisStart", "channel": {"id": 7}},
    {"type": "StasisStart", "channel": {"id": "setu-1-forged"}, "args": []},
    {"type": "StasisStart", "channel": {"id": "x"}, "args": ["agent", "20260101-000000-0000"]},
    {"type": "ChannelDtmfReceived", "channel": {"id": "nobody"}, "digit": "1"},
    {"type": "ChannelDtmfReceived", "channel": {"id": "nobody"}},
    {"type": "ChannelDestroyed", "channel": {"id": "nobody"}, "cause": 1 << 70},
    {"type": "ChannelDestroyed", "channel": {"id": "x" * 100_000}},
    {"type": "ChannelLeftBridge", "channel": {"id": "nobody"}, "bridge": None},
    {"type": "RESTResponse", "request_id": "999999", "status_code": 200},
    {"type": "RESTResponse", "request_id": None},
    {"type": "NeverHeardOf", "payload": "x" * 1_000_000},
    {"type": ["StasisStart"]},
    {},
    [],
]


def test_events_that_make_no_sense_change_nothing(target: Target) -> None:
    """On the control connection itself: an Asterisk with other modules, or one gone mad."""
    before = target.rejected("ari", "malformed")
    with target.undisturbed():
        for event in FORGED:
            target.call.tell(json.dumps(event))
        target.call.tell("no JSON")
        target.call.tell("[" * 100_000)
    # Fewer than the 16 that end a connection.
    target.rejects(before + 10, "ari", "malformed")
    target.call.another()


def test_a_flood_of_events_about_nobody(target: Target) -> None:
    with target.undisturbed():
        for batch in range(100):
            for number in range(50):
                target.call.tell(f'{{"type": "ChannelDtmfReceived", "channel": {{"id": "{batch}-{number}"}}, "digit": "5"}}')
            time.sleep(0.02)


def test_a_hundred_digits_a_second_are_cut_to_what_a_hand_can_press(target: Target) -> None:
    """In the language menu, which `#` opens, and outside of it."""
    callers, presses = target.call.callers(), 30
    dropped, taken = target.rejected("keys", "too-fast"), target.counted("setu_keys_pressed_total")
    began = time.monotonic()

    def counted() -> tuple[int, int]:
        return target.counted("setu_keys_pressed_total") - taken, target.rejected("keys", "too-fast") - dropped

    with target.undisturbed():
        for _ in range(presses):
            target.call.press("*#1*#1*#1*")
            time.sleep(0.1)
    until(lambda: sum(counted()) >= 10 * presses * callers, "the digits' being taken or dropped")
    assert counted()[0] <= (BURST + PER_SECOND * (time.monotonic() - began) + 1) * callers


def test_a_thousand_half_open_connections_keep_nobody_out(target: Target) -> None:
    allow_many_files()
    crowd, slow = target.rejected("connection", "crowd"), target.rejected("connection", "slow")
    worker = psutil.Process(target.process._process.pid)
    files = worker.num_fds()
    held = []

    def turned_away() -> tuple[int, int]:
        """For the crowd, and for being slow."""
        return target.rejected("connection", "crowd") - crowd, target.rejected("connection", "slow") - slow

    with target.undisturbed():
        for number in range(1000):
            held.append(target.connect())
            if number % 2:
                held[-1].sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        asked = time.monotonic()
        assert httpx.get(f"{target.url}/health", timeout=HEAD_S).status_code == 200
        assert target.stalls.took_s(asked, time.monotonic()) < 2.0
        target.call.another()
        until(lambda: worker.num_fds() - files <= MOST + 20, "the end of the others' files", HEAD_S / 2)
    # Where opening them took longer than a head may take, the first ones were turned away for that.
    until(lambda: sum(turned_away()) >= 1000 - MOST, "the crowd's being turned away")
    assert turned_away()[0] > 0
    first = held[-1]
    assert gone(first, HEAD_S + 10).startswith(b"HTTP/1.1 408 ")
    for connection in held:
        gone(connection, 10)
        connection.close()
    until(lambda: sum(turned_away()) >= 1000 and turned_away()[1] >= MOST - 10, "the slow ones' being turned away")
    until(lambda: worker.num_fds() - files < 20, "the end of their files")


def test_a_head_without_end_is_refused_before_it_is_kept(target: Target) -> None:
    before = target.rejected("connection", "head-too-big")
    for begin, piece in ((b"GET /", b"a" * 10_000), (b"GET / HTTP/1.1\r\nX: ", b"b" * 10_000), (b"GET / HTTP/1.1\r\n", b"Y: 1\r\n" * 2000)):
        with target.undisturbed(grows_mb=5.0), target.connect() as connection:
            connection.sendall(begin)
            try:
                for _ in range(2000):
                    connection.sendall(piece)
                pytest.fail("20 MB of head were read")
            except ConnectionError:
                pass
    target.rejects(before + 3, "connection", "head-too-big")
    with target.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"b" * HEAD_BYTES)
        assert gone(connection, 5).startswith(b"HTTP/1.1 431 ")


def test_what_is_no_http_is_answered_400(target: Target) -> None:
    before = target.rejected("connection", "malformed")
    for text in (b"\x16\x03\x01\x02\x00\x01", b"INVITE sip:1800@x SIP/2.0\r\n\r\n", b"\0" * 100):
        with target.connect() as connection:
            connection.sendall(text)
            assert gone(connection, HEAD_S + 10)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 408"), text
    until(lambda: target.rejected("connection", "malformed") > before, "their being counted")


def connections(target: Target) -> int:
    """Of the worker with those who have connected to it."""
    worker = psutil.Process(target.process._process.pid)
    open_ones = [item for item in worker.net_connections("tcp") if item.status == psutil.CONN_ESTABLISHED]
    return sum(item.laddr.port == target.place[1] for item in open_ones)


def test_an_asterisk_that_stops_reading(target: Target) -> None:
    """A media socket for good: its leg is given up and the parties are joined. Meanwhile the control connection, for a while."""
    unanswered = 'setu_ari_requests_total{result="timed-out"}'
    stalled, before = target.rejected("connection", "stalled"), target.counted(unanswered)
    calls, sockets = len(target.get("/api/calls")), target.get("/api/status")["media_sockets"]
    stuck = target.call.another()
    inside, began = connections(target), time.monotonic()

    def state() -> str | None:
        return {call["call_id"]: call["state"] for call in target.get("/api/calls")}.get(stuck)

    with target.undisturbed(grows_mb=5.0), target.call.unread_leg(stuck, "agent"):
        with target.call.unread_control():
            target.call.dial()
            until(lambda: target.counted(unanswered) > before, "the requests' being given up", 30.0)
            print(f"requests given up after {time.monotonic() - began:.1f} s")
        until(lambda: len(target.get("/api/calls")) == calls + 1, "the end of the call that could not begin")
        target.call.another()
        until(lambda: target.rejected("connection", "stalled") > stalled, "the leg's being given up", 2 * PING_S + 5.0)
        print(f"given up after {time.monotonic() - began:.1f} s")
        until(lambda: state() == "direct", "the parties' being joined")
        until(lambda: target.get("/api/status")["media_sockets"] == sockets + 2, "the end of both sockets, of which Asterisk closes one")
        until(lambda: connections(target) <= inside, "the end of both connections")
    target.rejects(stalled + 1, "connection", "stalled")


def test_it_listens_on_loopback_only(target: Target) -> None:
    worker = psutil.Process(target.process._process.pid)
    listening = [connection.laddr for connection in worker.net_connections("inet") if connection.status == psutil.CONN_LISTEN]
    assert [address.ip for address in listening] == ["127.0.0.1"]


def test_the_running_call_was_never_disturbed(target: Target) -> None:
    """The last test of the file: what the two said in all that time was translated."""
    until_s = time.monotonic() - 3.0
    if not target.call.utterances(until_s):
        pytest.skip("only this test was run: nobody has said anything yet")
    assert target.call.unheard(until_s) == []
