"""Runs the processes of a stack with honcho: prefixed output, one stops all, nothing left behind.

Added to honcho: every process has a log file of its own, the first one that ended by itself is remembered, a process that
is killed takes its children with it, and somebody may watch until the stack is ready.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from honcho.manager import Manager
from honcho.printer import Message, Printer
from honcho.process import Process

from appliance.stack.errors import NotReady, ProcessDied

STOP_S = 8.0
"""Longest wait for processes that were asked to stop, before they are killed."""
POLL_S = 0.25
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


class Supervisor:
    """One run of a set of processes.

    Args:
        commands: shell command by process name.
        cwd: where they start.
        environment: theirs.
        log_folder: gets one file NAME.log per process.
        output: gets every line, prefixed; None: only the log files do.
    """

    def __init__(
        self, commands: Mapping[str, str], *, cwd: Path, environment: Mapping[str, str], log_folder: Path, output: TextIO | None
    ) -> None:
        self._manager = _Manager(_Printer(output, log_folder))
        self._log_folder = log_folder
        for name, command in commands.items():
            self._manager.add_process(name, command, env=dict(environment), cwd=str(cwd))

    def run(self, waiting_for: Callable[[], list[str]], on_ready: Callable[[], None], *, ready_s: float) -> None:
        """Runs until SIGINT or SIGTERM. Must be called from the main thread.

        Args:
            waiting_for: names of the parts that are not ready, empty when all are.
            on_ready: called once, from another thread, when all parts are ready.
            ready_s: how long they may take.

        Raises:
            ProcessDied: a process ended by itself; the others have been stopped.
            NotReady: the parts were not ready in time; all have been stopped.
        """
        stop_watching = threading.Event()
        late: list[str] = []

        def watch() -> None:
            waiting = ["everything"]
            for _ in range(round(ready_s / POLL_S)):
                if stop_watching.wait(POLL_S):
                    return
                waiting = waiting_for()
                if not waiting:
                    on_ready()
                    return
            late.extend(waiting)
            self._manager.terminate()

        self._manager.watcher = threading.Thread(target=watch, name="readiness", daemon=True)
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._manager.loop()
        finally:
            stop_watching.set()
            for number, handler in handlers.items():
                signal.signal(number, handler)
        died = self._manager.died
        if died is not None:
            name, status = died
            what = f"{name} {_how(status)}, so the stack was stopped{self._last_words(name)}"
            raise ProcessDied(what, hint=f"log: {self._log_folder / name}.log")
        if late:
            raise NotReady(f"not ready after {ready_s:g} s: {', '.join(late)}", hint=f"logs: {self._log_folder}")

    def _last_words(self, name: str) -> str:
        lines = [line.strip() for line in (self._log_folder / f"{name}.log").read_text(errors="replace").splitlines() if line.strip()]
        return f"; its last words: {lines[-1][:300]}" if lines else ""


class _Manager(Manager):
    def __init__(self, printer: Printer) -> None:
        super().__init__(printer)
        # A forked runner dies with this process (see _attended); one from a fork server would not.
        self._context = multiprocessing.get_context("fork")
        self._queue = self._context.Queue()
        self.events = self
        self.died: tuple[str, int] | None = None
        self.watcher: threading.Thread | None = None

    def get(self, timeout: float) -> Message:
        """Stands in for honcho's queue, to see who stopped before anybody was told to."""
        message = self._queue.get(timeout=timeout)
        if message.type == "stop" and not self._terminating and self.died is None:
            self.died = (message.name, message.data["returncode"])
        return message

    def _start(self) -> None:
        for name, entry in self._processes.items():
            entry["process"] = self._context.Process(name=name, target=_attended, args=(entry["obj"], self._queue))
            entry["process"].start()
        if self.watcher is not None:
            self.watcher.start()  # only now: a process with several threads should not fork

    def terminate(self) -> None:
        if not self._terminating:
            killer = threading.Timer(STOP_S, self.kill)  # honcho itself kills only once somebody has stopped
            killer.daemon = True
            killer.start()
        super().terminate()

    def _killall(self, force: bool = False) -> None:
        for entry in self._processes.values():
            if "pid" not in entry and "process" in entry:  # stopped while still starting: its runner is all there is
                entry["process"].kill()
                entry.update(pid=entry["process"].pid, returncode=-signal.SIGKILL)
        super()._killall(force)

    def _system_print(self, data: str) -> None:
        """Says nothing: what matters is said by whoever runs the stack."""


class _Printer(Printer):
    def __init__(self, output: TextIO | None, log_folder: Path) -> None:
        super().__init__(output, prefix=True)
        self._folder = log_folder
        self._files: dict[str, TextIO] = {}

    def write(self, message: Message) -> None:
        if message.type == "line":
            text = message.data.decode(errors="replace") if isinstance(message.data, bytes) else message.data
            if message.name not in self._files:
                self._files[message.name] = (self._folder / f"{message.name}.log").open("w", buffering=1)
            self._files[message.name].write(text)
        if self.output is not None:
            super().write(message)


def _attended(process: Process, events: Any) -> None:
    """Runs in a process of its own: starts the command, relays its output. Dies with the supervisor, the command with it."""
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    process.run(events, True)


def _how(status: int) -> str:
    """An exit status in words."""
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
