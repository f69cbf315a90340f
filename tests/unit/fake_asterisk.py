"""A miniature Asterisk that speaks the gateway's two WebSocket protocols, for tests of everything but Asterisk.

It keeps channels and bridges, answers requests as the real one does (404 for what does not exist, 422 for a channel outside of the
application), opens the media sockets it is asked for and sends the events that follow. What the real one does is checked in tests/call.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

USER, PASSWORD = "setu", "secret"


def basic(user: str = USER, password: str = PASSWORD) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@dataclass
class Request:
    method: str
    uri: str
    query: dict[str, str]

    def __str__(self) -> str:
        return f"{self.method} {self.uri}"


@dataclass
class FakeChannel:
    id: str
    name: str
    app: str = ""
    number: str = ""
    music: bool = False
    state: str = "Up"
    variables: dict[str, str] = field(default_factory=dict)


@dataclass
class MediaPeer:
    """Asterisk's end of a media socket."""

    socket: ClientConnection
    received: bytearray = field(default_factory=bytearray)
    marks: list[str] = field(default_factory=list)


class FakeAsterisk:
    def __init__(self, port: int, app: str = "setu-1") -> None:
        self.url = f"ws://127.0.0.1:{port}"
        self.app = app
        self.channels: dict[str, FakeChannel] = {}
        self.bridges: dict[str, set[str]] = {}
        self.media: dict[str, MediaPeer] = {}
        self.requests: list[Request] = []
        self.refuse: dict[str, int] = {}
        """Status by the beginning of a request, such as `{"POST bridges": 500}`."""
        self.silent: set[str] = set()
        """Beginnings of requests that are never answered."""
        self.media_sockets = True
        """Whether externalMedia channels really connect."""
        self.in_dialplan: list[tuple[str, str]] = []
        """Channel and context of every `continue`."""
        self.sending: set[str] = set()
        """Channels whose telephones send audio."""
        self.packets = 0
        self._socket: ClientConnection | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls = 0

    # Connection

    async def dial(self) -> None:
        self._socket = await connect(
            f"{self.url}/ari/{self.app}", subprotocols=["ari"], additional_headers=basic(), compression=None, proxy=None
        )
        self._start(self._serve(self._socket))

    async def drop(self) -> None:
        """The control connection breaks; channels and bridges live on."""
        assert self._socket is not None
        await self._socket.close()
        self._socket = None

    async def close(self) -> None:
        for peer in list(self.media.values()):
            await peer.socket.close()
        if self._socket is not None:
            await self._socket.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def raw(self, text: str) -> None:
        assert self._socket is not None
        await self._socket.send(text)

    async def event(self, kind: str, channel: FakeChannel, **fields: Any) -> None:
        if self._socket is None:
            return
        with contextlib.suppress(ConnectionClosed):
            await self.raw(json.dumps({"type": kind, "application": self.app, "channel": self._json(channel), **fields}))

    def _json(self, channel: FakeChannel) -> dict[str, Any]:
        dialplan = {"context": "from-trunk", "exten": "1800", "priority": 5}
        if channel.app:
            dialplan |= {"app_name": "Stasis", "app_data": channel.app}
        caller = {"name": "", "number": channel.number}
        return {"id": channel.id, "name": channel.name, "state": channel.state, "caller": caller, "dialplan": dialplan}

    # What happens at the telephones

    async def caller_dials(self, number: str = "9840012345") -> str:
        self._calls += 1
        channel = FakeChannel(f"1700000000.{self._calls}", f"PJSIP/trunk-{self._calls:08x}", self.app, number)
        self.channels[channel.id] = channel
        await self.event("StasisStart", channel, args=[])
        return channel.id

    async def call_left_behind(self, name: str, number: str = "9840012345") -> tuple[str, str]:
        """A caller whose worker is gone comes in, his agent being in that worker's application; their channels."""
        self._calls += 1
        caller = FakeChannel(f"1700000000.{self._calls}", f"PJSIP/trunk-{self._calls:08x}", self.app, number)
        agent = FakeChannel(f"{name}-to-agent", "Local/it@agents-0;1", name.rsplit("-", 3)[0])
        self.channels |= {caller.id: caller, agent.id: agent}
        await self.event("StasisStart", caller, args=["adopt", name, "1800"])
        return caller.id, agent.id

    def agent(self) -> str:
        """Id of the call to the agents."""
        return next(channel for channel in self.channels if channel.endswith("-agent"))

    async def agent_answers(self) -> str:
        channel = self.channels[self.agent()]
        channel.state = "Up"
        call = next(request for request in self.requests if request.query.get("channelId") == channel.id)
        await self.event("StasisStart", channel, args=call.query["appArgs"].split(","))
        return channel.id

    async def hang_up(self, channel_id: str, cause: int = 16, text: str = "Normal Clearing") -> None:
        channel = self.channels.pop(channel_id, None)
        if channel is None:
            return
        for members in self.bridges.values():
            members.discard(channel_id)
        await self.event("ChannelHangupRequest", channel, cause=cause)
        if channel.app:
            await self.event("StasisEnd", channel)
        await self.event("ChannelDestroyed", channel, cause=cause, cause_txt=text)
        peer = self.media.pop(channel_id, None)
        if peer is not None:
            await peer.socket.close()

    async def digit(self, channel_id: str, digit: str) -> None:
        await self.event("ChannelDtmfReceived", self.channels[channel_id], digit=digit, duration_ms=100)

    # Requests

    async def _serve(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in socket:
                message = json.loads(text)
                query = {item["name"]: item["value"] for item in message["query_strings"]}
                request = Request(message["method"], unquote(message["uri"]), query)
                self.requests.append(request)
                if any(str(request).startswith(beginning) for beginning in self.silent):
                    continue
                status, body = self._refused(request) or await self._do(request)
                answer = {"type": "RESTResponse", "request_id": message["request_id"], "status_code": status, "reason_phrase": "x"}
                await socket.send(json.dumps(answer | ({"message_body": json.dumps(body)} if body is not None else {})))

    def _refused(self, request: Request) -> tuple[int, Any] | None:
        for beginning, status in self.refuse.items():
            if str(request).startswith(beginning):
                return status, {"message": "refused by the test"}
        return None

    async def _do(self, request: Request) -> tuple[int, Any]:
        match [request.method, *request.uri.split("/")]:
            case ["GET", "channels"]:
                return 200, [self._json(channel) for channel in self.channels.values()]
            case ["GET", "bridges"]:
                return 200, [{"id": bridge, "channels": sorted(members)} for bridge, members in self.bridges.items()]
            case ["POST", "channels", "externalMedia"]:
                return await self._external_media(request.query)
            case ["POST", "channels"]:
                channel = FakeChannel(request.query["channelId"], "Local/it@agents-0;1", self.app, state="Ringing")
                self.channels[channel.id] = channel
                return 200, self._json(channel)
            case ["POST", "bridges", bridge] if bridge in self.bridges:
                return 409, {"message": f"Bridge with id '{bridge}' already exists"}
            case ["POST", "bridges", bridge]:
                self.bridges[bridge] = set()
                return 200, {"id": bridge}
            case [_, "bridges", bridge, *_] if bridge not in self.bridges:
                return 404, {"message": "Bridge not found"}
            case ["POST", "bridges", bridge, "addChannel"]:
                return self._add(bridge, request.query["channel"].split(","))
            case ["DELETE", "bridges", bridge]:
                del self.bridges[bridge]
                return 204, None
            case [_, "channels", channel, *_] if channel not in self.channels:
                return 404, {"message": "Channel not found"}
            case ["POST", "channels", channel, "continue"]:
                return await self._continue(channel, request.query["context"])
            case [method, "channels", channel, "moh"]:
                self.channels[channel].music = method == "POST"
                return 204, None
            case ["GET", "channels", channel, "rtp_statistics"]:
                if "PJSIP" not in self.channels[channel].name:
                    return 409, {"message": "no RTP"}
                self.packets += channel in self.sending
                return 200, {"rxcount": self.packets}
            case ["POST", "channels", _, "answer"]:
                return 204, None
            case ["POST", "channels", channel, "variable"]:
                self.channels[channel].variables[request.query["variable"]] = request.query["value"]
                return 204, None
            case ["POST", "channels", channel, "move"]:
                return await self._move(channel, request.query["app"])
            case ["DELETE", "channels", channel]:
                self._start(self.hang_up(channel))
                return 204, None
        return 400, {"message": f"the test knows no {request}"}

    def _add(self, bridge: str, channels: list[str]) -> tuple[int, Any]:
        if not all(channel in self.channels and self.channels[channel].app for channel in channels):
            return 422, {"message": "Channel not in Stasis application"}
        for members in self.bridges.values():
            members.difference_update(channels)
        self.bridges[bridge].update(channels)
        return 204, None

    async def _continue(self, channel_id: str, context: str) -> tuple[int, Any]:
        channel = self.channels[channel_id]
        channel.app = ""
        self.in_dialplan.append((channel_id, context))
        for members in self.bridges.values():
            members.discard(channel_id)
        await self.event("StasisEnd", channel)
        return 204, None

    async def _move(self, channel_id: str, app: str) -> tuple[int, Any]:
        channel = self.channels[channel_id]
        channel.app = app
        if app == self.app:
            await self.event("StasisStart", channel, args=[])
        return 204, None

    async def _external_media(self, query: dict[str, str]) -> tuple[int, Any]:
        channel = FakeChannel(query["channelId"], "WebSocket/setu-media-1/0x1")
        if self.media_sockets:
            leg = query["transport_data"].removeprefix("f(json)v(").removesuffix(")")
            socket = await connect(
                f"{self.url}/media/{self.app}?{leg}", subprotocols=["media"], additional_headers=basic(), compression=None, proxy=None
            )
            peer = self.media[channel.id] = MediaPeer(socket)
            self._start(self._carry(channel.id, peer))
        channel.app = self.app
        self.channels[channel.id] = channel
        await self.event("StasisStart", channel, args=[])
        return 200, self._json(channel)

    async def _carry(self, channel_id: str, peer: MediaPeer) -> None:
        start = {"event": "MEDIA_START", "channel_id": channel_id, "format": "slin16", "optimal_frame_size": 640, "ptime": 20}
        with contextlib.suppress(ConnectionClosed):
            await peer.socket.send(bytes(640))
            await peer.socket.send(json.dumps(start))
            async for message in peer.socket:
                if isinstance(message, bytes):
                    peer.received += message
                elif (command := json.loads(message))["command"] == "MARK_MEDIA":
                    peer.marks.append(command["correlation_id"])
                    await peer.socket.send(json.dumps({"event": "MEDIA_MARK_PROCESSED", "correlation_id": command["correlation_id"]}))
        await self.hang_up(channel_id)
