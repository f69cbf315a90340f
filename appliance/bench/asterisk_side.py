"""Asterisk's side of the gateway's control protocol: channels, bridges, answers to requests, events. Pure.

What comes back from every method is to be done in order: texts to send on the control socket, media sockets to open and close.
Channels are answered as Asterisk does: 404 for what does not exist, 422 for a channel that is not in the application.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import unquote

FRAME_BYTES = 640
"""20 ms of `slin16`."""


@dataclass(slots=True)
class Channel:
    id: str
    name: str
    application: str = ""
    """Empty while it is in the dialplan."""
    number: str = ""
    args: tuple[str, ...] = ()
    """What it will bring into the application."""


@dataclass(frozen=True, slots=True)
class Send:
    """A text for the control socket."""

    text: str


@dataclass(frozen=True, slots=True)
class OpenMedia:
    """A media socket to open at `/media/APP?leg=LEG`; call `media_opened` when it is."""

    channel: str
    leg: str
    request_id: str


@dataclass(frozen=True, slots=True)
class CloseMedia:
    channel: str


@dataclass(frozen=True, slots=True)
class AgentsCalled:
    """The gateway calls the agents; `agent_answers(channel)` when one has answered."""

    channel: str


@dataclass(frozen=True, slots=True)
class ToDialplan:
    """The gateway has let a channel go on without it."""

    channel: str
    context: str


Effect = Send | OpenMedia | CloseMedia | AgentsCalled | ToDialplan


class AsteriskSide:
    """One Stasis application of one Asterisk."""

    def __init__(self, application: str = "setu-1") -> None:
        self.application = application
        self.channels: dict[str, Channel] = {}
        self.bridges: dict[str, set[str]] = {}
        self._calls = count(1)

    # What happens at the telephones

    def caller_dials(self, number: str, called: str = "1800") -> tuple[str, list[Effect]]:
        """Id of the new caller's channel."""
        serial = next(self._calls)
        channel = Channel(f"1700000000.{serial}", f"PJSIP/trunk-{serial:08x}", self.application, number)
        self.channels[channel.id] = channel
        return channel.id, [self._event("StasisStart", channel, called, args=[])]

    def agent_answers(self, channel_id: str) -> list[Effect]:
        channel = self.channels.get(channel_id)
        if channel is None:
            return []
        channel.application = self.application
        return [self._event("StasisStart", channel, args=list(channel.args))]

    def digit(self, channel_id: str, digit: str) -> list[Effect]:
        channel = self.channels.get(channel_id)
        return [] if channel is None else [self._event("ChannelDtmfReceived", channel, digit=digit, duration_ms=100)]

    def hang_up(self, channel_id: str, cause: int = 16) -> list[Effect]:
        """The channel ends, whoever wanted it."""
        channel = self.channels.pop(channel_id, None)
        if channel is None:
            return []
        for members in self.bridges.values():
            members.discard(channel_id)
        effects: list[Effect] = [self._event("ChannelHangupRequest", channel, cause=cause)]
        if channel.application:
            effects.append(self._event("StasisEnd", channel))
        effects.append(self._event("ChannelDestroyed", channel, cause=cause, cause_txt="Normal Clearing"))
        if channel.name.startswith("WebSocket/"):
            effects.append(CloseMedia(channel_id))
        return effects

    # The control socket

    def take(self, text: str) -> list[Effect]:
        """A request of the gateway."""
        message = json.loads(text)
        query = {item["name"]: item["value"] for item in message["query_strings"]}
        parts = [unquote(part) for part in message["uri"].split("/")]
        return self._request(message["request_id"], message["method"], parts, query)

    def media_opened(self, opened: OpenMedia) -> list[Effect]:
        """Asterisk answers the request for a media channel only when its socket is there."""
        channel = self.channels.get(opened.channel)
        if channel is None:
            return [_answer(opened.request_id, 500, {"message": "channel gone"})]
        channel.application = self.application
        return [self._event("StasisStart", channel, args=[]), _answer(opened.request_id, 200, self._shown(channel))]

    def _request(self, request_id: str, method: str, parts: list[str], query: dict[str, str]) -> list[Effect]:
        match [method, *parts]:
            case ["GET", "channels"]:
                return [_answer(request_id, 200, [self._shown(channel) for channel in self.channels.values()])]
            case ["GET", "bridges"]:
                return [_answer(request_id, 200, [{"id": id_, "channels": sorted(has)} for id_, has in self.bridges.items()])]
            case ["POST", "channels", "externalMedia"]:
                leg = query["transport_data"].removeprefix("f(json)v(leg=").removesuffix(")")
                self.channels[query["channelId"]] = Channel(query["channelId"], f"WebSocket/{query['external_host']}/0x1")
                return [OpenMedia(query["channelId"], leg, request_id)]
            case ["POST", "channels"]:
                channel = Channel(query["channelId"], "Local/it@agents-0;1", args=tuple(query["appArgs"].split(",")))
                self.channels[channel.id] = channel
                return [_answer(request_id, 200, self._shown(channel)), AgentsCalled(channel.id)]
            case ["POST", "bridges", bridge]:
                self.bridges[bridge] = set()
                return [_answer(request_id, 200, {"id": bridge})]
            case [_, "bridges", bridge, *_] if bridge not in self.bridges:
                return [_answer(request_id, 404, {"message": "Bridge not found"})]
            case ["POST", "bridges", bridge, "addChannel"]:
                return [self._added(request_id, bridge, query["channel"].split(","))]
            case ["DELETE", "bridges", bridge]:
                del self.bridges[bridge]
                return [_answer(request_id, 204)]
            case [_, "channels", channel_id, *_] if channel_id not in self.channels:
                return [_answer(request_id, 404, {"message": "Channel not found"})]
            case ["POST", "channels", channel_id, "continue"]:
                return self._continued(request_id, self.channels[channel_id], query["context"])
            case ["DELETE", "channels", channel_id]:
                return [_answer(request_id, 204), *self.hang_up(channel_id)]
            case ["POST", "channels", _, "answer" | "moh" | "variable"] | ["DELETE", "channels", _, "moh"]:
                return [_answer(request_id, 204)]
        return [_answer(request_id, 400, {"message": f"unknown request {method} {'/'.join(parts)}"})]

    def _added(self, request_id: str, bridge: str, wanted: list[str]) -> Send:
        if not all(id_ in self.channels and self.channels[id_].application for id_ in wanted):
            return _answer(request_id, 422, {"message": "Channel not in Stasis application"})
        for members in self.bridges.values():
            members.difference_update(wanted)
        self.bridges[bridge].update(wanted)
        return _answer(request_id, 204)

    def _continued(self, request_id: str, channel: Channel, context: str) -> list[Effect]:
        channel.application = ""
        for members in self.bridges.values():
            members.discard(channel.id)
        return [_answer(request_id, 204), self._event("StasisEnd", channel), ToDialplan(channel.id, context)]

    def _event(self, kind: str, channel: Channel, called: str = "1800", **fields: Any) -> Send:
        return Send(json.dumps({"type": kind, "application": self.application, "channel": self._shown(channel, called), **fields}))

    def _shown(self, channel: Channel, called: str = "1800") -> dict[str, Any]:
        dialplan = {"context": "from-trunk", "exten": called, "priority": 5}
        if channel.application:
            dialplan |= {"app_name": "Stasis", "app_data": channel.application}
        caller = {"name": "", "number": channel.number}
        return {"id": channel.id, "name": channel.name, "state": "Up", "caller": caller, "dialplan": dialplan}


def _answer(request_id: str, status: int, body: Any = None) -> Send:
    message = {"type": "RESTResponse", "request_id": request_id, "status_code": status, "reason_phrase": "as asked"}
    return Send(json.dumps(message | ({} if body is None else {"message_body": json.dumps(body)})))


def media_start(channel: str) -> str:
    """The first text on a media socket."""
    return json.dumps({"event": "MEDIA_START", "channel_id": channel, "format": "slin16", "optimal_frame_size": FRAME_BYTES, "ptime": 20})


def media_mark(command: str) -> str | None:
    """Name of the mark in a command of the gateway; None for other commands."""
    message = json.loads(command)
    return str(message["correlation_id"]) if message["command"] == "MARK_MEDIA" else None


def mark_processed(mark: str) -> str:
    """Told when everything before the mark has been played."""
    return json.dumps({"event": "MEDIA_MARK_PROCESSED", "correlation_id": mark})


def basic(user: str, password: str) -> str:
    """Value of the `Authorization` header of both sorts of sockets."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
