"""Processes that are measured: started on given cores, ready or refused with their last words, always ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from appliance.bench.errors import BenchError

START_S = 60.0
STOP_S = 10.0
POLL_S = 0.1
ASK_S = 2.0


class Measured:
    """A running process and what it costs."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._seen = psutil.Process(process.pid)

    @property
    def cpu_s(self) -> float:
        """Seconds of a core used since its start, all threads and children together."""
        return sum(self._time(process) for process in self._family())

    @property
    def memory_mb(self) -> float:
        """Resident memory, MB of 10^6 bytes."""
        return round(sum(process.memory_info().rss for process in self._family()) / 1e6, 1)

    def _family(self) -> list[psutil.Process]:
        try:
            return [self._seen, *self._seen.children(recursive=True)]
        except psutil.Error as error:
            raise BenchError(f"{self.name} has ended while it was measured{self.last_words}", hint=f"log: {self.log}") from error

    @staticmethod
    def _time(process: psutil.Process) -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    @property
    def ended(self) -> int | None:
        return self._process.poll()

    @property
    def last_words(self) -> str:
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return f": {lines[-1][:300]}" if lines else ""

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Raises: BenchError: it ended or was not ready in time."""
        end = time.monotonic() + START_S
        while not ready():
            if self.ended is not None:
                raise BenchError(f"{self.name} ended with {self.ended} while it started{self.last_words}", hint=f"log: {self.log}")
            if time.monotonic() > end:
                raise BenchError(f"{self.name} was not ready after {START_S:g} s{self.last_words}", hint=f"log: {self.log}")
            time.sleep(POLL_S)


@contextmanager
def running(name: str, command: Sequence[str], folder: Path, core: int | None = None) -> Iterator[Measured]:
    """A process that ends with the block, or with this process whatever becomes of it.

    Args:
        folder: gets its log, `NAME.log`.
        core: the only one it may use; None: any.
    """
    log = folder / f"{name}.log"
    pinned = ["taskset", "-c", str(core)] if core is not None else []
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *pinned, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield Measured(name, process, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def python(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", module, *map(str, arguments)]


@contextmanager
def model_server(kind: str, config: Path, run_dir: Path, core: int | None = None) -> Iterator[Measured]:
    """A model server of this configuration that has answered its warm-up request.

    Raises:
        BenchError: it does not start; its own words.
    """
    with running(f"model-{kind}", python("appliance.modelserver", "--kind", kind, "--config", config), config.parent, core) as server:
        socket = run_dir / f"{kind}.sock"
        server.wait_until(lambda: socket.exists() and answers("http://model/health", httpx.HTTPTransport(uds=str(socket))))
        yield server


def answers(url: str, transport: httpx.HTTPTransport | None = None) -> bool:
    """Whether a GET is answered with 200."""
    with httpx.Client(transport=transport or httpx.HTTPTransport(), timeout=ASK_S) as client:
        try:
            return client.get(url).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False


def two_cores() -> tuple[int, int] | None:
    """A core for what is measured and one for everything else; None when this process may use one only."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[-1]) if len(cores) > 1 else None


@contextmanager
def this_process_on(core: int | None) -> Iterator[None]:
    """This thread uses the core only, as long as the block lasts."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
