from __future__ import annotations

import json

import pytest

from appliance.telephony import ari_requests
from appliance.telephony.ari_messages import (
    ChannelDtmfReceived,
    MalformedMessage,
    OtherEvent,
    RestRequest,
    RestResponse,
    StasisStart,
    decode_message,
    encode_request,
)

STASIS_START = {
    "type": "StasisStart",
    "timestamp": "2026-11-21T02:00:00.123+0000",
    "asterisk_id": "aa:bb",
    "application": "setu-1",
    "args": ["agent", "c1"],
    "a_field_of_a_later_version": {"x": 1},
    "channel": {
        "id": "1741988825.0",
        "name": "PJSIP/trunk-00000000",
        "state": "Ring",
        "protocol_id": "abc",
        "caller": {"name": "", "number": "9840012345"},
        "connected": {"name": "", "number": ""},
        "dialplan": {"context": "from-trunk", "exten": "1800", "priority": 5, "app_name": "Stasis", "app_data": "setu-1"},
        "language": "en",
    },
}


def test_an_event_with_more_fields_than_we_know() -> None:
    event = decode_message(json.dumps(STASIS_START))
    assert isinstance(event, StasisStart)
    assert event.args == ("agent", "c1")
    assert event.channel.caller.number == "9840012345"
    assert event.channel.dialplan.exten == "1800"


def test_an_event_of_an_unknown_type_is_named() -> None:
    assert decode_message('{"type": "ContactStatusChange", "x": []}') == OtherEvent("ContactStatusChange")


def test_a_digit() -> None:
    event = decode_message('{"type": "ChannelDtmfReceived", "digit": "#", "duration_ms": 120, "channel": {"id": "c"}}')
    assert isinstance(event, ChannelDtmfReceived)
    assert event.digit == "#"
    assert event.channel.id == "c"


def test_a_response_without_body() -> None:
    response = decode_message('{"type": "RESTResponse", "request_id": "7", "status_code": 204, "reason_phrase": "No Content", "uri": "x"}')
    assert response == RestResponse("7", 204, "No Content", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"type": 3}',
        '{"no": "type"}',
        '{"type": "StasisStart"}',
        '{"type": "StasisStart", "channel": {"id": 5}}',
        '{"type": "StasisStart", "channel": "c"}',
        '{"type": "ChannelDtmfReceived", "channel": {"id": "c"}}',
        '{"type": "RESTResponse", "status_code": "ok"}',
        "[" * 100_000,
        '{"type": "StasisStart", "channel": ' * 5_000,
        "\ud800",
        b"\xff\xfe\x00",
    ],
)
def test_what_is_not_understood_is_malformed(text: str | bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_message(text)


def test_a_request_as_asterisk_reads_it() -> None:
    query = ({"name": "mohClass", "value": "x"},)
    request = RestRequest(request_id="1", transaction_id="1", method="POST", uri="channels/c/moh", query_strings=query)
    assert json.loads(encode_request(request)) == {
        "type": "RESTRequest",
        "request_id": "1",
        "transaction_id": "1",
        "method": "POST",
        "uri": "channels/c/moh",
        "query_strings": [{"name": "mohClass", "value": "x"}],
    }


def test_ids_are_quoted_in_paths() -> None:
    assert ari_requests.hang_up("a b/../c?d").uri == "channels/a%20b%2F..%2Fc%3Fd"


def test_the_media_request_names_leg_and_format() -> None:
    query = ari_requests.open_media("setu-1-x-caller-media", "setu-1", "setu-media-1").query
    assert query["transport_data"] == "f(json)v(leg=setu-1-x-caller-media)"
    assert query["format"] == "slin16"
    assert query["connection_type"] == "client"
    assert query["external_host"] == "setu-media-1"
