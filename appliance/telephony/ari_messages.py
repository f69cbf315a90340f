"""What travels over Asterisk's control WebSocket: requests, their responses, and the events the gateway acts on.

Fields that Asterisk adds in later versions are ignored; so are event types not named here (they come back as `OtherEvent`).
Sources: Asterisk's ARI reference (resources `channels`, `bridges`, `events`) and "ARI REST over WebSocket".
"""

from __future__ import annotations

from typing import Any

import msgspec

from appliance.telephony.errors import TelephonyError


class CallerId(msgspec.Struct, frozen=True):
    name: str = ""
    number: str = ""


class DialplanPlace(msgspec.Struct, frozen=True):
    context: str = ""
    exten: str = ""
    app_name: str = ""
    app_data: str = ""
    """Arguments of the running application, such as `setu-1,caller`."""


class Channel(msgspec.Struct, frozen=True):
    id: str
    name: str = ""
    """Technology and peer, such as `PJSIP/trunk-00000001`."""
    state: str = ""
    caller: CallerId = CallerId()
    dialplan: DialplanPlace = DialplanPlace()


class Bridge(msgspec.Struct, frozen=True):
    id: str
    channels: tuple[str, ...] = ()
    """Ids of the channels in it."""


class StasisStart(msgspec.Struct, frozen=True):
    """A channel has entered the application."""

    channel: Channel
    args: tuple[str, ...] = ()


class StasisEnd(msgspec.Struct, frozen=True):
    """A channel has left the application: it hung up or went on in the dialplan."""

    channel: Channel


class ChannelDtmfReceived(msgspec.Struct, frozen=True):
    channel: Channel
    digit: str
    duration_ms: int = 0


class ChannelHangupRequest(msgspec.Struct, frozen=True):
    channel: Channel
    cause: int = 0


class ChannelDestroyed(msgspec.Struct, frozen=True):
    channel: Channel
    cause: int = 0
    """Q.850 cause."""
    cause_txt: str = ""


class ChannelStateChange(msgspec.Struct, frozen=True):
    channel: Channel


class ChannelEnteredBridge(msgspec.Struct, frozen=True):
    bridge: Bridge
    channel: Channel


class ChannelLeftBridge(msgspec.Struct, frozen=True):
    bridge: Bridge
    channel: Channel


class OtherEvent(msgspec.Struct, frozen=True):
    """An event of a type that the gateway does not act on."""

    type: str


ChannelEvent = (
    StasisStart
    | StasisEnd
    | ChannelDtmfReceived
    | ChannelHangupRequest
    | ChannelDestroyed
    | ChannelStateChange
    | ChannelEnteredBridge
    | ChannelLeftBridge
)
"""Everything the gateway acts on is about one channel."""


class RestRequest(msgspec.Struct, frozen=True, kw_only=True):
    type: str = "RESTRequest"
    request_id: str
    transaction_id: str
    method: str
    uri: str
    query_strings: tuple[dict[str, str], ...] = ()
    """Each `{"name": ..., "value": ...}`."""
    content_type: str | msgspec.UnsetType = msgspec.UNSET
    message_body: str | msgspec.UnsetType = msgspec.UNSET
    """JSON as text."""


class RestResponse(msgspec.Struct, frozen=True):
    request_id: str = ""
    status_code: int = 0
    reason_phrase: str = ""
    message_body: str = ""
    """JSON as text; empty when there is none."""


AriMessage = ChannelEvent | OtherEvent | RestResponse


class MalformedMessage(TelephonyError):
    """A message on the control socket is not JSON, or a field that is needed is missing or of a wrong type."""


class _Head(msgspec.Struct):
    type: str


_TYPES: tuple[Any, ...] = (
    StasisStart,
    StasisEnd,
    ChannelDtmfReceived,
    ChannelHangupRequest,
    ChannelDestroyed,
    ChannelStateChange,
    ChannelEnteredBridge,
    ChannelLeftBridge,
)
_head = msgspec.json.Decoder(_Head)
_decoders: dict[str, msgspec.json.Decoder[Any]] = {kind.__name__: msgspec.json.Decoder(kind) for kind in _TYPES}
_decoders["RESTResponse"] = msgspec.json.Decoder(RestResponse)
_encoder = msgspec.json.Encoder()


def decode_message(text: str | bytes) -> AriMessage:
    """One message of the control socket.

    Raises:
        MalformedMessage: it cannot be understood.
    """
    try:
        kind = _head.decode(text).type
        decoder = _decoders.get(kind)
        if decoder is None:
            return OtherEvent(kind)
        message: AriMessage = decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise MalformedMessage(f"control message not understood: {error}") from None
    return message


def encode_request(request: RestRequest) -> str:
    return _encoder.encode(request).decode()
