"""What goes over a telephone's control port."""

from __future__ import annotations

import asyncio

import pytest

from appliance.phone import netstring
from appliance.phone.phone_events import CallClosed, CallEstablished, IncomingCall, Registered, RegistrationFailed, decode_event


def stream(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


async def test_messages_survive_packing_back_to_back() -> None:
    reader = stream(netstring.pack(b'{"a":1}') + netstring.pack(b"") + netstring.pack("ஒன்று".encode()))
    assert [await netstring.read(reader) for _ in range(3)] == [b'{"a":1}', b"", "ஒன்று".encode()]


@pytest.mark.parametrize("data", [b"x:abc,", b"3:abcd", b":abc,", b"99999999:a,"])
async def test_what_is_no_netstring_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="netstring"):
        await netstring.read(stream(data))


async def test_a_stream_that_ends_inside_a_message_says_so() -> None:
    with pytest.raises(asyncio.IncompleteReadError):
        await netstring.read(stream(b"10:abc"))


def test_events_are_decoded_by_their_type() -> None:
    def event(kind: str, **more: str) -> object:
        return decode_event({"event": True, "type": kind, "class": "call", **more})

    assert event("CALL_ESTABLISHED", peeruri="sip:1800@127.0.0.1") == CallEstablished(peer="sip:1800@127.0.0.1")
    assert event("CALL_INCOMING", peeruri="sip:98765@127.0.0.1") == IncomingCall(peer="sip:98765@127.0.0.1")
    assert event("CALL_CLOSED", param="486 Busy Here") == CallClosed(reason="486 Busy Here")
    assert event("REGISTER_OK") == Registered()
    assert event("REGISTER_FAIL", param="403 Forbidden") == RegistrationFailed(reason="403 Forbidden")
    assert event("CALL_RTCP") is None
    assert decode_event({"response": True, "ok": True}) is None
