"""Telephones by the hundred: SIPp places and answers calls and plays recorded speech, G.711 mu-law, round and round."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from appliance.bench.errors import BenchError
from appliance.stack.programs import Programs

CALLER_ADDRESS, AGENT_ADDRESS = "127.0.0.2", "127.0.0.4"
CALLER_PORT, AGENT_PORT = 5071, 5072
CALLER_RTP, AGENT_RTP = 42_000, 46_000
RTP_PORTS = 3_000
TOLD_EVERY_S = 5
STOP_S = 10.0
RING_MS = 200

_SDP = """\
v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [rtpstream_audio_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
a=ptime:20
"""
_HEAD = '<?xml version="1.0" encoding="ISO-8859-1" ?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n'
_ANSWER = "[last_Via:]\n[last_From:]\n[last_To:]{tag}\n[last_Call-ID:]\n[last_CSeq:]\nContact: <sip:desk@[local_ip]:[local_port]>\n"


def caller_scenario(speech: Path, number: str) -> str:
    """Dials, speaks for as long as SIPp is told with `-d`, hangs up."""
    head = (
        "Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]\nFrom: <sip:9[call_number]00000@[local_ip]>;tag=[pid]c[call_number]\n"
        f"To: <sip:{number}@[remote_ip]:[remote_port]>{{peer}}\nCall-ID: [call_id]\nCSeq: {{cseq}}\n"
        "Contact: <sip:caller@[local_ip]:[local_port]>\nMax-Forwards: 70\n"
    )
    uri = f"sip:{number}@[remote_ip]:[remote_port] SIP/2.0\n"
    in_call = {"peer": "[peer_tag_param]"}
    return (
        f'{_HEAD}<scenario name="caller">\n'
        + _send(
            f"INVITE {uri}{head.format(peer='', cseq='1 INVITE')}Content-Type: application/sdp\nContent-Length: [len]\n\n{_SDP}",
            'retrans="500"',
        )
        + '<recv response="100" optional="true"/><recv response="180" optional="true"/><recv response="183" optional="true"/>\n'
        + '<recv response="200" timeout="20000"/>\n'
        + _send(f"ACK {uri}{head.format(cseq='1 ACK', **in_call)}Content-Length: 0\n\n")
        + f'<nop><action><exec rtp_stream="{speech},-1,0"/></action></nop>\n<pause/>\n'
        + _send(f"BYE {uri}{head.format(cseq='2 BYE', **in_call)}Content-Length: 0\n\n", 'retrans="500"')
        + '<recv response="200" timeout="10000"/>\n</scenario>\n'
    )


def agent_scenario(speech: Path) -> str:
    """Answers, speaks until the other side hangs up; says that it is there when asked."""
    ok = "SIP/2.0 200 OK\n"
    return (
        f'{_HEAD}<scenario name="agent">\n'
        + '<recv request="OPTIONS" optional="true" next="asked"/>\n<recv request="INVITE"/>\n'
        + _send(f"SIP/2.0 180 Ringing\n{_ANSWER.format(tag=';tag=[pid]a[call_number]')}Content-Length: 0\n\n")
        + f'<pause milliseconds="{RING_MS}"/>\n'
        + _send(
            f"{ok}{_ANSWER.format(tag=';tag=[pid]a[call_number]')}Content-Type: application/sdp\nContent-Length: [len]\n\n{_SDP}",
            'retrans="500"',
        )
        + f'<recv request="ACK"/>\n<nop><action><exec rtp_stream="{speech},-1,0"/></action></nop>\n<recv request="BYE"/>\n'
        + _send(f"{ok}{_ANSWER.format(tag='')}Content-Length: 0\n\n")
        + '<nop next="end"/>\n<label id="asked"/>\n'
        + _send(f"{ok}{_ANSWER.format(tag=';tag=o[call_number]')}Content-Length: 0\n\n")
        + '<label id="end"/>\n<nop/>\n</scenario>\n'
    )


def _send(text: str, attributes: str = "") -> str:
    return f"<send {attributes}>\n<![CDATA[\n{text}\n]]>\n</send>\n"


@dataclass(frozen=True, slots=True)
class Tally:
    """What SIPp has counted since it was started."""

    now: int = 0
    """Calls at this moment."""
    good: int = 0
    failed: int = 0


class Sipp:
    """One running SIPp."""

    def __init__(self, process: subprocess.Popen[bytes], statistics: Path) -> None:
        self._process = process
        self._statistics = statistics

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def cpu_s(self) -> float:
        """Seconds of a core used since its start; 0 once it has ended."""
        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    def no_more(self) -> None:
        """Place no further calls; ends when the last one has ended."""
        self._process.send_signal(signal.SIGUSR1)

    def wait(self, seconds: float) -> bool:
        """Whether it ended in time."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def tally(self) -> Tally:
        """As of some seconds ago."""
        try:
            rows = list(csv.DictReader(self._statistics.read_text().splitlines(), delimiter=";"))
        except OSError:
            return Tally()
        if not rows:
            return Tally()
        last = rows[-1]
        return Tally(*(int(last.get(name) or 0) for name in ("CurrentCall", "SuccessfulCall(C)", "FailedCall(C)")))


Calling = AbstractContextManager[Sipp]


@contextmanager
def telephones(
    programs: Programs, folder: Path, name: str, scenario: str, *, address: str, port: int, rtp_port: int, more: list[str]
) -> Iterator[Sipp]:
    """SIPp with a scenario, ended with the block.

    Args:
        folder: holds what the scenario plays; gets its files.
        more: further options, the remote address among them where there is one.
    """
    file = folder / f"{name}.xml"
    file.write_text(scenario)
    statistics = folder / f"{name}.csv"
    options = ["-sf", str(file), "-i", address, "-mi", address, "-p", str(port), "-nostdin", "-timer_resol", "20"]
    options += ["-min_rtp_port", str(rtp_port), "-max_rtp_port", str(rtp_port + RTP_PORTS), "-trace_stat", "-stf", str(statistics)]
    options += ["-fd", str(TOLD_EVERY_S), "-trace_err", "-error_file", str(folder / f"{name}.errors")]
    command = programs.command("sipp", *options, *more, visible=[folder])
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**os.environ, "TERM": "dumb"},
        )
    try:
        yield Sipp(process, statistics)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def callers(
    programs: Programs, folder: Path, server: str, number: str, speech: Path, *, at_once: int, length_s: float, per_second: float
) -> Calling:
    """Callers who keep `at_once` calls going, each of `length_s`."""
    if at_once < 1:
        raise BenchError("no calls at all")
    more = ["-l", str(at_once), "-r", str(max(1, round(1000 * per_second))), "-rp", "1000000", "-d", str(round(1000 * length_s)), server]
    return telephones(
        programs,
        folder,
        "caller",
        caller_scenario(speech, number),
        address=CALLER_ADDRESS,
        port=CALLER_PORT,
        rtp_port=CALLER_RTP,
        more=more,
    )


def agents(programs: Programs, folder: Path, speech: Path) -> Calling:
    """All agents' telephones, at one address and port."""
    return telephones(
        programs, folder, "agent", agent_scenario(speech), address=AGENT_ADDRESS, port=AGENT_PORT, rtp_port=AGENT_RTP, more=["-aa"]
    )
