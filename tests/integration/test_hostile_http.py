"""Whatever can be said in HTTP, at every route: answered with a clear status, never with an error of our own."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import psutil
import pytest
import schemathesis
from hostile_gateway import Target, attacked_gateway, gone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from litestar import Litestar
from litestar.routes import HTTPRoute, WebSocketRoute
from model_servers import ModelServerProcess, model_server, write_config

from appliance.config.load import load
from appliance.gateway.access import Credentials
from appliance.gateway.app import create_app
from appliance.modelserver import app as model_app
from appliance.modelserver.__main__ import prepare
from appliance.modelserver.bodies import BODIES_BYTES, BODY_S
from appliance.modelserver.messages import SpeechRequest, TextQuery, TranslationRequest
from appliance.web.entrance import HEAD_S

pytestmark = [pytest.mark.timeout(180), pytest.mark.filterwarnings("ignore::DeprecationWarning")]
EXAMPLES = 40
"""Of each operation."""
fuzzed = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
STUBS = """
[stt]
engine = "stub"
model = "delay_s=0.001,text=ஆம்"
[mt]
engine = "stub"
model = "delay_s=0.001"
[tts]
engine = "stub"
model = "speech_s=0.1"
"""


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with tempfile.TemporaryDirectory(prefix="setu-hostile-") as folder, attacked_gateway(Path(folder)) as attacked:
        yield attacked


@pytest.fixture(scope="module", params=["stt", "mt", "tts"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServerProcess]:
    config = write_config(tmp_path_factory.mktemp("hs"), STUBS)
    with model_server(request.param, config) as running:
        yield running


def operations(document: dict[str, Any]) -> Iterator[Any]:
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        yield found.ok()


def fuzz(document: dict[str, Any], send: Callable[..., httpx.Response], check: Callable[[httpx.Response], None]) -> int:
    """Sends what fits the document and what does not, to each of its operations; how many requests that were."""
    sent = 0
    for operation in operations(document):
        for mode in schemathesis.GenerationMode:
            try:
                cases = operation.as_strategy(generation_mode=mode)
            except schemathesis.errors.InvalidSchema:
                continue

            @fuzzed
            @given(case=cases)
            def one(case: Any) -> None:
                nonlocal sent
                call = case.as_transport_kwargs(base_url="http://server")
                try:
                    answer = send(call)
                except httpx.InvalidURL:
                    return
                sent += 1
                check(answer)

            with contextlib.suppress(Unsatisfiable):  # an operation without parameters has no wrong ones
                one()
    return sent


def as_httpx(client: httpx.Client) -> Callable[[dict[str, Any]], httpx.Response]:
    def send(call: dict[str, Any]) -> httpx.Response:
        body = call.get("data")
        if call.get("json") is not None:
            body = json.dumps(call["json"])
        headers = {name: value.encode("utf-8", "surrogatepass") for name, value in dict(call.get("headers") or {}).items()}
        content = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
        path = call["url"].removeprefix("http://server")
        try:
            extra = {name: call.get(name) for name in ("params", "cookies")}
            return client.send(client.build_request(call["method"], path, content=content, headers=headers, **extra))
        except (httpx.LocalProtocolError, UnicodeError, TypeError) as error:  # what no client can send
            raise httpx.InvalidURL(str(error)) from None

    return send


def test_the_gateways_routes_by_their_document(target: Target) -> None:
    document = httpx.get(f"{target.url}/schema/openapi.json").json()
    assert {"/health", "/metrics", "/api/calls", "/api/status"} <= set(document["paths"])
    with httpx.Client(base_url=target.url, timeout=10) as client, target.undisturbed(grows_mb=30.0):

        def check(answer: httpx.Response) -> None:
            assert answer.status_code < 500, (answer.request, answer.text)

        assert fuzz(document, as_httpx(client), check) >= len(document["paths"])  # without parameters there is little to vary
        for method in ("PUT", "DELETE", "PATCH", "POST", "TRACE", "OPTIONS", "HEAD", "BREW"):
            for path in document["paths"]:
                assert client.request(method, path, content=b"x" * 1000).status_code < 500, (method, path)


def routes_of(app: Litestar) -> dict[tuple[str, str], set[str]]:
    """By path and method: the query parameters of everything that an application answers; OPTIONS is the framework's own."""
    found = {}
    for route in app.routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            for method in handler.http_methods - {"OPTIONS"}:
                query = set(handler.parsed_fn_signature.parameters) - {"request", "state", "scope"}
                found[route.path_format, str(method)] = query
    return found


def routes_in(document: dict[str, Any]) -> dict[tuple[str, str], set[str]]:
    """The same of a document."""
    return {
        (path, method.upper()): {item["name"] for item in operation.get("parameters", ()) if item["in"] == "query"}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_the_gateways_document_and_this_file_have_all_its_routes(target: Target) -> None:
    """Those of a WebSocket are tried in `test_hostile_sockets`."""
    app = create_app(lambda: contextlib.nullcontext(), Credentials("x", "x"))  # type: ignore[arg-type,return-value]
    own = {route: query for route, query in routes_of(app).items() if not route[0].startswith("/schema")}
    assert routes_in(httpx.get(f"{target.url}/schema/openapi.json").json()) == own
    sockets = {route.path_format for route in app.routes if isinstance(route, WebSocketRoute)}
    assert sockets == {"/ari/{application}", "/media/{application}"}


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
HEADERS = ("Accept", "Accept-Encoding", "Authorization", "Content-Type", "Cookie", "Host", "If-None-Match", "Origin", "Range", "X-Odd")


def test_requests_that_fit_no_document(target: Target) -> None:
    """Every address and what lies beside it, with methods, queries, headers and bodies of any kind."""
    paths = [*httpx.get(f"{target.url}/schema/openapi.json").json()["paths"], "/schema", "/ari/setu-1", "/media/setu-1", "/nothing"]
    words, bytes_only = st.text(max_size=20), st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\r\n")
    requests = st.fixed_dictionaries(
        {
            "path": st.sampled_from(paths),
            "beside": st.just([]) | st.lists(words, max_size=3),
            "method": st.sampled_from(METHODS),
            "params": st.dictionaries(st.sampled_from(["call", "leg", "path"]) | words, words, max_size=4),
            "headers": st.dictionaries(st.sampled_from(HEADERS), st.text(bytes_only, max_size=60), max_size=3),
            "data": st.binary(max_size=2000),
        }
    )
    tried = 0
    with httpx.Client(base_url=target.url, timeout=10) as client, target.undisturbed(grows_mb=30.0):
        send = as_httpx(client)

        @settings(fuzzed, max_examples=10 * EXAMPLES)
        @given(requests)
        def one(wanted: dict[str, Any]) -> None:
            nonlocal tried
            url = "/".join([wanted.pop("path"), *(quote(part, safe="") for part in wanted.pop("beside"))])
            try:
                answer = send({"url": url, **wanted})
            except httpx.InvalidURL:
                return
            tried += 1
            assert answer.status_code < 500, (answer.request, answer.text)

        one()
        assert client.get("/health").status_code == 200
    print(f"{tried} requests")
    assert tried > 5 * EXAMPLES


def test_a_body_nobody_asked_for_is_not_kept(target: Target) -> None:
    with target.undisturbed(grows_mb=10.0), target.connect() as connection:
        connection.sendall(b"GET /api/status HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            for _ in range(300):
                connection.sendall(bytes(65_536))
        except ConnectionError:
            pass


def test_bytes_without_any_order(target: Target) -> None:
    words = st.sampled_from([b"GET ", b"/health", b" HTTP/1.1", b"\r\n", b"Host: x", b"Upgrade: websocket", b"Connection: Upgrade"])

    @fuzzed
    @given(st.lists(words | st.binary(max_size=40), max_size=12).map(b"".join))
    def one(text: bytes) -> None:
        with target.connect() as connection:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            answer = gone(connection, HEAD_S + 15)
            assert not answer.startswith(b"HTTP/1.1 5"), text

    with target.undisturbed():
        one()


# Model servers


ANSWERS = {"200": {"description": "as asked"}}


def posted(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {media_type: {"schema": schema}}}, "responses": ANSWERS}


def document_of(kind: str) -> dict[str, Any]:
    """What a model server takes, as OpenAPI: it tells nobody itself."""
    asked: dict[str, type[msgspec.Struct]] = {"mt": {"/v1/translate": TranslationRequest}, "tts": {"/v1/speak": SpeechRequest}}.get(
        kind, {"/v1/identify": TextQuery}
    )  # type: ignore[assignment]
    schemas, components = msgspec.json.schema_components(asked.values(), ref_template="#/components/schemas/{name}")
    header = {"in": "header", "name": "X-Timeout-S", "schema": {"type": "string"}}
    paths: dict[str, Any] = {
        path: {"post": {"parameters": [header], **posted("application/json", schema)}} for path, schema in zip(asked, schemas, strict=True)
    }
    if kind == "stt":
        query = [{"in": "query", "name": name, "schema": {"type": "string"}} for name in ("language", "languages", "partial", "stream")]
        audio = posted("application/octet-stream", {"type": "string", "format": "binary"})
        paths["/v1/transcribe"] = {"post": {"parameters": [*query, header], **audio}}
    for path in ("/health", "/metrics"):
        paths[path] = {"get": {"responses": ANSWERS}}
    return {"openapi": "3.1.0", "info": {"title": kind, "version": "1"}, "paths": paths, "components": {"schemas": components}}


@pytest.mark.parametrize("kind", ["stt", "mt", "tts"])
def test_the_document_of_a_model_server_has_all_its_routes(kind: Any, tmp_path: Path) -> None:
    app = model_app.create_app(*prepare(kind, load(write_config(tmp_path, STUBS))), lambda: None)
    assert routes_in(document_of(kind)) == routes_of(app)
    assert not any(isinstance(route, WebSocketRoute) for route in app.routes)


def test_a_model_servers_routes(server: ModelServerProcess) -> None:
    def check(answer: httpx.Response) -> None:
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert answer.json()["error"], "a refusal says why"

    with server.http() as client:
        assert fuzz(document_of(server.kind), as_httpx(client), check) >= EXAMPLES
        assert client.get("/health").status_code == 200


def test_a_model_server_waits_for_no_body_and_holds_few(server: ModelServerProcess, request: pytest.FixtureRequest) -> None:
    path = {"stt": "/v1/transcribe", "mt": "/v1/translate", "tts": "/v1/speak"}[server.kind]
    memory = psutil.Process(server.process.pid).memory_info().rss
    held = []
    request.addfinalizer(lambda: [connection.close() for connection in held])
    for _ in range(100):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(server.socket))
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1900000\r\n\r\n".encode() + bytes(100_000))
        held.append(connection)
    refused, deadline = 100 - BODIES_BYTES // 1_900_000, time.monotonic() + 10
    statuses = [b""] * len(held)
    while statuses.count(b"HTTP/1.1 429") < refused and time.monotonic() < deadline:
        time.sleep(0.2)
        for number, connection in enumerate(held):
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                statuses[number] = statuses[number] or connection.recv(12)
    time.sleep(0.3)  # and no more than these
    for number, connection in enumerate(held):
        with contextlib.suppress(BlockingIOError):
            statuses[number] = statuses[number] or connection.recv(12)
    assert statuses.count(b"HTTP/1.1 429") == refused
    with server.http() as client:
        assert client.get("/health").status_code == 200
    assert psutil.Process(server.process.pid).memory_info().rss - memory < 40e6
    waiting = held[statuses.index(b"")]
    assert gone(waiting, BODY_S + 15).startswith(b"HTTP/1.1 408 ")
    with server.http() as client:
        text = client.get("/metrics").text
    assert f'setu_engine_requests_total{{kind="{server.kind}",result="overloaded"}}' in text


def test_a_body_that_is_too_long_is_refused(server: ModelServerProcess) -> None:
    path = {"stt": "/v1/transcribe", "mt": "/v1/translate", "tts": "/v1/speak"}[server.kind]
    with server.http() as client:
        assert client.post(path, content=bytes(2_000_001)).status_code == 413
        assert client.post(path, content=(bytes(1000) for _ in range(3000))).status_code == 413


def test_a_model_server_is_for_the_local_user_and_group(server: ModelServerProcess) -> None:
    found = server.socket.stat()
    assert stat.S_IMODE(found.st_mode) == 0o660
    assert found.st_uid == os.getuid()
    listening = [item for item in psutil.Process(server.process.pid).net_connections("inet") if item.status == psutil.CONN_LISTEN]
    assert listening == []
