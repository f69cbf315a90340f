"""Whoever makes a real Asterisk write to its logs without end does not fill the disk."""

from __future__ import annotations

import asyncio
import resource
import socket
from pathlib import Path

from stack_asterisk import RunningAsterisk, running_asterisk

LIMIT_BYTES = 40_000
"""In place of what the unit allows; a line of the security log is about 400 bytes."""
WAIT_S = 60.0


def guesses(asterisk: RunningAsterisk, count: int) -> None:
    """Requests of somebody who does not know the password; each is written to the security log."""
    host, port = asterisk.server.split(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.5", 0))
        stranger.settimeout(2.0)
        own = stranger.getsockname()[1]
        for number in range(count):
            request = [
                f"REGISTER sip:{host} SIP/2.0", f"Via: SIP/2.0/UDP 127.0.0.5:{own};branch=z9hG4bKa{own}x{number}",
                f"From: <sip:agent1@{host}>;tag={number}", f"To: <sip:agent1@{host}>", f"Call-ID: {own}-{number}", "CSeq: 1 REGISTER",
                f"Contact: <sip:agent1@127.0.0.5:{own}>", "Max-Forwards: 70", "Content-Length: 0", "", "",
            ]  # fmt: skip
            stranger.sendto("\r\n".join(request).encode(), (host, int(port)))
            try:
                assert stranger.recv(4096).startswith(b"SIP/2.0 401")
            except TimeoutError:
                continue  # one lost or late answer more or less


def security_files(folder: Path) -> dict[str, int]:
    """Sizes by name."""
    found = {}
    for path in sorted(folder.glob("security*")):
        try:
            found[path.name] = path.stat().st_size
        except FileNotFoundError:
            continue  # renamed just now
    return found


def newest(log: Path) -> tuple[int, int] | None:
    """Inode and size of the file that is written to; None between two of them."""
    try:
        found = (log / "security").stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size


def last_turned(log: Path) -> set[tuple[int, int]]:
    """Inode and last write of the file that was turned last; empty while there is none, or while it is renamed."""
    try:
        found = (log / "security.0").stat()
    except FileNotFoundError:
        return set()
    return {(found.st_ino, found.st_mtime_ns)}


async def test_logs_stay_within_three_files_of_the_largest_size(tmp_path: Path) -> None:
    async with running_asterisk(tmp_path) as asterisk:
        resource.prlimit(asterisk.process.pid, resource.RLIMIT_FSIZE, (LIMIT_BYTES, LIMIT_BYTES))
        log = asterisk.layout.asterisk_log
        turned: set[tuple[int, int]] = set()  # an inode alone may come again
        async with asyncio.timeout(WAIT_S):
            while len(turned) < 5:  # more than are kept
                await asyncio.to_thread(guesses, asterisk, 40)
                turned |= last_turned(log)
                sizes = security_files(log)
                assert sizes.keys() <= {"security", "security.0", "security.1", "security.2"}
                assert all(size <= LIMIT_BYTES for size in sizes.values())
            while "security.2" in security_files(log):
                await asyncio.sleep(0.05)
        assert asterisk.process.returncode is None
        # It still writes, and still answers.
        before = newest(log)
        await asyncio.to_thread(guesses, asterisk, 3)
        async with asyncio.timeout(WAIT_S):
            while newest(log) in (None, before):
                await asyncio.sleep(0.05)
        assert "agent1" in asterisk.ask("pjsip show endpoints")
