"""The requests the gateway makes to Asterisk, by name. Every channel and bridge gets an id of the gateway's own making.

So a request whose answer got lost can still be undone, and a new connection can tell what belonged to this worker.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote

MEDIA_FORMAT = "slin16"
"""Signed 16 bit linear at 16 kHz, on media channels and on the Local channel to the agents (which may otherwise pick 192 kHz)."""


def _part(name: str) -> str:
    """One part of a path, whatever characters an id has."""
    return quote(name, safe="")


@dataclass(frozen=True, slots=True)
class AriRequest:
    method: str
    uri: str
    """Path below `/ari/`, without a query."""
    query: dict[str, str] = field(default_factory=dict)
    body: str = ""
    """JSON, or empty."""

    def __str__(self) -> str:
        return f"{self.method} {self.uri}"


def answer(channel: str) -> AriRequest:
    return AriRequest("POST", f"channels/{_part(channel)}/answer")


def hang_up(channel: str, reason: str = "normal") -> AriRequest:
    return AriRequest("DELETE", f"channels/{_part(channel)}", {"reason": reason})


def continue_in_dialplan(channel: str, context: str, extension: str) -> AriRequest:
    """The channel leaves the application and goes on at priority 1 of the extension."""
    return AriRequest("POST", f"channels/{_part(channel)}/continue", {"context": context, "extension": extension, "priority": "1"})


def move(channel: str, app: str) -> AriRequest:
    """The channel becomes another application's, which is told by `StasisStart`; a bridge it is in stays."""
    return AriRequest("POST", f"channels/{_part(channel)}/move", {"app": app})


def set_variable(channel: str, name: str, value: str) -> AriRequest:
    """Set a variable of the channel, or a function that the dialplan could set there."""
    return AriRequest("POST", f"channels/{_part(channel)}/variable", {"variable": name, "value": value})


def rtp_statistics(channel: str) -> AriRequest:
    """What has been received and sent; refused for channels without RTP."""
    return AriRequest("GET", f"channels/{_part(channel)}/rtp_statistics")


def start_music(channel: str, music_class: str = "default") -> AriRequest:
    return AriRequest("POST", f"channels/{_part(channel)}/moh", {"mohClass": music_class})


def stop_music(channel: str) -> AriRequest:
    return AriRequest("DELETE", f"channels/{_part(channel)}/moh")


def create_bridge(bridge: str) -> AriRequest:
    return AriRequest("POST", f"bridges/{_part(bridge)}", {"type": "mixing", "name": bridge})


def delete_bridge(bridge: str) -> AriRequest:
    return AriRequest("DELETE", f"bridges/{_part(bridge)}")


def add_to_bridge(bridge: str, *channels: str) -> AriRequest:
    """Put channels into the bridge; one that is in another bridge is moved."""
    return AriRequest("POST", f"bridges/{_part(bridge)}/addChannel", {"channel": ",".join(channels)})


def open_media(channel: str, app: str, websocket_client: str) -> AriRequest:
    """Make a channel whose audio goes over a WebSocket that Asterisk opens to the gateway.

    The socket's address gets `leg=<channel>` as a query parameter, so that it can be matched before `MEDIA_START` has come.
    """
    return AriRequest(
        "POST",
        "channels/externalMedia",
        {
            "channelId": channel,
            "app": app,
            "external_host": websocket_client,
            "transport": "websocket",
            "encapsulation": "none",
            "connection_type": "client",
            "format": MEDIA_FORMAT,
            "direction": "both",
            "transport_data": f"f(json)v(leg={_part(channel)})",
        },
    )


def call(channel: str, other_half: str, endpoint: str, app: str, app_args: str, *, caller_id: str, timeout_s: int) -> AriRequest:
    """Call `endpoint` (a Local channel); its near half enters `app` with `app_args` when it is answered."""
    return AriRequest(
        "POST",
        "channels",
        {
            "channelId": channel,
            "otherChannelId": other_half,
            "endpoint": endpoint,
            "app": app,
            "appArgs": app_args,
            "formats": MEDIA_FORMAT,
            "callerId": caller_id,
            "timeout": str(timeout_s),
        },
    )


def list_channels() -> AriRequest:
    return AriRequest("GET", "channels")


def list_bridges() -> AriRequest:
    return AriRequest("GET", "bridges")
