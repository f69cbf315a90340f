"""Little HTTP servers in the place of workers and model servers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import UnixStreamServer
from typing import Any

from appliance.config.load import load


@contextmanager
def answering(server: Any) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def handler(body: object | Callable[[], object], status: int = 200) -> type[BaseHTTPRequestHandler]:
    """Answers every request with `body` as JSON, or with what it returns."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps(body() if callable(body) else body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    return Answer


class UnixServer(UnixStreamServer):
    def get_request(self) -> tuple[Any, Any]:
        request, _ = super().get_request()
        return request, ("local", 0)


@contextmanager
def worker_answering(config_file: Path, status: object | Callable[[], object]) -> Iterator[None]:
    """The first worker of this configuration."""
    with answering(ThreadingHTTPServer(("127.0.0.1", load(config_file).config.gateway.port), handler(status))):
        yield
