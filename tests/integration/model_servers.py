"""Model servers as processes, for tests: started from a configuration, ready or refused, always stopped."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

REPOSITORY = Path(__file__).parents[2]
START_S = 60.0


class ModelServerProcess:
    def __init__(self, kind: str, config: Path) -> None:
        self.kind = kind
        self.socket = config.parent / "run" / f"{kind}.sock"
        self._log = config.parent / f"{kind}.log"
        with self._log.open("ab") as log:
            python = [sys.executable, "-W", "error::RuntimeWarning"]
            command = [*python, "-m", "appliance.modelserver", "--kind", kind, "--config", str(config)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=REPOSITORY)

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def http(self, timeout: float = 10.0) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self.socket), verify=False)
        return httpx.Client(transport=transport, base_url=f"http://{self.kind}", timeout=timeout)

    def listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def wait_ready(self) -> None:
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log}")
            if self.listens():
                with self.http() as client:
                    if client.get("/health").status_code == 200:
                        return
            time.sleep(0.05)
        raise AssertionError(f"not ready after {START_S} s:\n{self.log}")

    def metric(self, name: str) -> float:
        """Sum of all series that begin so."""
        with self.http() as client:
            lines = client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def wait_queued(self, count: int) -> None:
        """Returns when so many requests wait for the engine."""
        end = time.monotonic() + START_S
        while (waiting := self.metric("setu_engine_queue{")) != count:
            assert time.monotonic() < end, f"{waiting:g} requests wait, not {count}"
            time.sleep(0.01)

    def wait_end(self) -> int:
        return self.process.wait(START_S)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not stop:\n{self.log}") from None


class Gate:
    """Holds a stub engine at its next batch, as long as the `with` block lasts or until it is opened.

    Args:
        pipe: as the stub has it, `gate=PIPE`; there is none before.
    """

    def __init__(self, pipe: Path) -> None:
        self._pipe = pipe
        self._writer: int | None = None

    def __enter__(self) -> Gate:
        os.mkfifo(self._pipe)
        return self

    def __exit__(self, *_: object) -> None:
        if self._pipe.exists():
            self.open()

    def reached(self) -> None:
        """Returns when the engine has begun a batch, which it does not end before the gate is opened."""
        end = time.monotonic() + START_S
        while self._writer is None:
            try:
                self._writer = os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:  # nobody reads
                    raise
                assert time.monotonic() < end, "the engine has begun nothing"
                time.sleep(0.01)

    def open(self) -> None:
        """The engine goes on, and is held no more."""
        last = os.open(self._pipe, os.O_RDWR | os.O_NONBLOCK)  # lets go who comes to it just now
        self._pipe.unlink()
        for descriptor in (last, self._writer):
            if descriptor is not None:
                os.close(descriptor)
        self._writer = None


@contextmanager
def model_server(kind: str, config: Path, *, ready: bool = True) -> Iterator[ModelServerProcess]:
    server = ModelServerProcess(kind, config)
    try:
        if ready:
            server.wait_ready()
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


def write_config(folder: Path, text: str, models: Path | None = None) -> Path:
    """`appliance.toml` in `folder`, whose path must be short enough for a socket."""
    file = folder / "appliance.toml"
    file.write_text(f'[models]\nfolder = "{models or REPOSITORY / "models"}"\n{text}', encoding="utf-8")
    return file
