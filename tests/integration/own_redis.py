"""A real Redis for tests, which can be stopped, hang and forget."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import redis as redis_module

from appliance.stack import install


class RedisServer:
    """A Redis of our own that keeps nothing on disk: started anew it has forgotten everything."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._log = folder / "redis.log"
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", str(folder)]
        self._command = install.programs(print).command("redis-server", *options, visible=[folder])
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        end = time.monotonic() + 10
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return
            except redis_module.ConnectionError:
                assert time.monotonic() < end, self._log.read_text()
                time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def hang(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def client(self) -> redis_module.Redis:
        return redis_module.Redis.from_url(self.url, decode_responses=True)


async def until(condition: Callable[[], Awaitable[bool]], within_s: float = 15.0) -> None:
    end = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < end, "did not happen in time"
        await asyncio.sleep(0.02)
