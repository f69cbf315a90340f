"""The load generator's Asterisk, spoken to in the gateway's own words: its requests, its decoder of events and answers."""

from appliance.bench import asterisk_side
from appliance.bench.asterisk_side import AgentsCalled, AsteriskSide, CloseMedia, Effect, OpenMedia, Send, ToDialplan
from appliance.telephony import ari_requests as ari
from appliance.telephony.ari_messages import (
    AriMessage,
    ChannelDestroyed,
    ChannelDtmfReceived,
    RestRequest,
    RestResponse,
    StasisEnd,
    StasisStart,
    decode_message,
    encode_request,
)


def asked(asterisk: AsteriskSide, request: ari.AriRequest) -> list[Effect]:
    query = tuple({"name": name, "value": value} for name, value in request.query.items())
    message = RestRequest(request_id="7", transaction_id="7", method=request.method, uri=request.uri, query_strings=query)
    return asterisk.take(encode_request(message))


def told(effects: list[Effect]) -> list[AriMessage]:
    return [decode_message(effect.text) for effect in effects if isinstance(effect, Send)]


def status(effects: list[Effect]) -> int:
    answers = [message for message in told(effects) if isinstance(message, RestResponse)]
    assert [answer.request_id for answer in answers] == ["7"]
    return answers[0].status_code


def test_a_call_from_the_first_ring_to_nothing_left() -> None:
    asterisk = AsteriskSide()
    caller, effects = asterisk.caller_dials("9840012345")
    (entered,) = told(effects)
    assert isinstance(entered, StasisStart)
    assert (entered.channel.id, entered.channel.caller.number, entered.channel.dialplan.exten) == (caller, "9840012345", "1800")
    assert status(asked(asterisk, ari.answer(caller))) == 204
    assert status(asked(asterisk, ari.create_bridge("b"))) == 200
    (opening,) = asked(asterisk, ari.open_media("setu-1-x-caller-media", "setu-1", "setu-media-1"))
    assert opening == OpenMedia("setu-1-x-caller-media", "setu-1-x-caller-media", "7")
    assert status(asked(asterisk, ari.add_to_bridge("b", caller, opening.channel))) == 422  # not in the application yet
    opened = asterisk.media_opened(opening)
    assert [type(message) for message in told(opened)] == [StasisStart, RestResponse]
    assert status(asked(asterisk, ari.add_to_bridge("b", caller, opening.channel))) == 204
    assert asterisk.bridges == {"b": {caller, opening.channel}}

    calling = asked(asterisk, ari.call("a", "a-queue", "Local/it@agents", "setu-1", "agent,x", caller_id="1800", timeout_s=60))
    assert calling[1:] == [AgentsCalled("a")]
    (answered,) = told(asterisk.agent_answers("a"))
    assert isinstance(answered, StasisStart)
    assert answered.args == ("agent", "x")
    (pressed,) = told(asterisk.digit("a", "9"))
    assert isinstance(pressed, ChannelDtmfReceived)

    gone = told(asterisk.hang_up(caller))
    assert [type(message) for message in gone][1:] == [StasisEnd, ChannelDestroyed]
    removed = asked(asterisk, ari.hang_up(opening.channel))
    assert removed[-1] == CloseMedia(opening.channel)
    assert status(removed) == 204
    asked(asterisk, ari.hang_up("a"))
    assert status(asked(asterisk, ari.delete_bridge("b"))) == 204
    assert (asterisk.channels, asterisk.bridges) == ({}, {})


def test_what_does_not_exist_is_not_found_and_what_is_unknown_is_refused() -> None:
    asterisk = AsteriskSide()
    for request in (ari.answer("x"), ari.hang_up("x"), ari.delete_bridge("x"), ari.add_to_bridge("x", "y"), ari.start_music("x")):
        assert status(asked(asterisk, request)) == 404
    assert status(asked(asterisk, ari.AriRequest("PUT", "channels"))) == 400
    assert asterisk.hang_up("x") == asterisk.agent_answers("x") == asterisk.digit("x", "1") == []


def test_a_caller_may_be_sent_on_to_the_dialplan() -> None:
    asterisk = AsteriskSide()
    caller, _ = asterisk.caller_dials("1")
    effects = asked(asterisk, ari.continue_in_dialplan(caller, "without-interpreter", "s"))
    assert effects[-1] == ToDialplan(caller, "without-interpreter")
    assert status(asked(asterisk, ari.list_channels())) == 200
    assert asterisk.channels[caller].application == ""


def test_marks_are_answered_and_other_commands_are_not() -> None:
    assert asterisk_side.media_mark('{"command":"MARK_MEDIA","correlation_id":"c1.1"}') == "c1.1"
    assert asterisk_side.media_mark('{"command":"FLUSH_MEDIA"}') is None
    assert "c1.1" in asterisk_side.mark_processed("c1.1")
