"""`python -m lab.call`: measured calls from the trunk's namespace to a telephone in the agents' namespace, through a node.

The telephones are those of `appliance call`, each in its own network namespace. The events of the calls and the recogniser that
reads the recordings are the node's own, through an SSH tunnel: nothing of the node is open to the network for this.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from appliance.config.load import LoadedConfig, load
from appliance.phone.demo import scripts, speech
from appliance.phone.phone_config import PhoneAccount
from appliance.phone.program import PhoneProgram, find_program
from appliance.phone.report import Report
from appliance.phone.run_calls import NamedCall, run_calls
from appliance.phone.station import ANSWER_AFTER_S, Station
from appliance.stack import install
from appliance.text.languages import language
from lab import layout
from lab.certificate import certificate
from lab.inventory import AGENTS, COMPANY_NUMBER, ENCRYPTING_AGENT, TLS_PORT, passwords
from lab.layout import Node
from lab.ssh import options

SIP_PORT = 5060
REDIS_PORT = 16379
"""Of the tunnel's end in the controller's namespace."""
KINDS = ("stt", "mt", "tts")
TUNNEL_S = 15.0


@dataclass(frozen=True, slots=True)
class NamespacedPhones(PhoneProgram):
    """Starts each telephone in the namespace of its side, and makes its control port reachable from here."""

    def command(self, folder: Path) -> list[str]:
        namespace = {"caller": layout.TRUNK_NAMESPACE, "agent": layout.PHONE_NAMESPACE}[folder.name]
        control = re.search(r"^ctrl_tcp_listen 127\.0\.0\.1:(\d+)$", (folder / "config").read_text(), re.MULTILINE)
        if control is None:
            raise ValueError(f"{folder / 'config'} names no control port")
        relay = [sys.executable, "-m", "lab.relay", control[1], namespace]
        # It ends with this process at the latest.
        subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *relay], cwd=layout.REPOSITORY, stdin=subprocess.DEVNULL)
        # Not `super()`: a dataclass with slots is made anew, and its methods do not know the new class.
        return ["nsenter", f"--net=/run/netns/{namespace}", "--", *PhoneProgram.command(self, folder)]


@dataclass
class LabStation(Station):
    """Telephones of the lab for one node."""

    node: Node = Node(1)  # noqa: RUF009 - frozen
    secure: bool = False
    """Both telephones use SIP over TLS, and take no audio that is not encrypted (SRTP)."""

    def account_of_caller(self, number: str) -> PhoneAccount:
        return self._secured(PhoneAccount(number, str(layout.TRUNK), self._server))

    def account_of_agent(self) -> PhoneAccount:
        name = self.agent or (ENCRYPTING_AGENT if self.secure else AGENTS[0])
        account = PhoneAccount(name, str(layout.PHONE), self._server, passwords()[name], registers=True, answer_after_s=ANSWER_AFTER_S)
        return self._secured(account)

    def _secured(self, account: PhoneAccount) -> PhoneAccount:
        return replace(account, authority=certificate()[0], srtp=True) if self.secure else account

    @property
    def _server(self) -> str:
        return f"{self.node.address}:{TLS_PORT if self.secure else SIP_PORT}"


@contextlib.contextmanager
def tunnel(node: Node) -> Iterator[LoadedConfig]:
    """The node's Redis and model servers as if they were here, and a configuration that names them."""
    with tempfile.TemporaryDirectory(prefix="setu-lab-") as name:
        folder = Path(name)
        forwards = ["-L", f"127.0.0.1:{REDIS_PORT}:127.0.0.1:6379"]
        for kind in KINDS:
            forwards += ["-L", f"{folder}/{kind}.sock:/run/appliance/{kind}.sock"]
        command = ["ssh", *options(), "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes", "-N", *forwards, f"root@{node.address}"]
        process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *command], stdin=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + TUNNEL_S
            while not all((folder / f"{kind}.sock").exists() for kind in KINDS):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"error: no tunnel to {node.name}")
                time.sleep(0.05)
            file = folder / "appliance.toml"
            file.write_text(
                f'[node]\nrun_dir = "{folder}"\n[telephony]\ncompany_number = "{COMPANY_NUMBER}"\n'
                f'[redis]\nurl = "redis://127.0.0.1:{REDIS_PORT}/0"\n'
            )
            yield load(file)
        finally:
            process.terminate()
            process.wait()


def place_calls(node: Node, languages: list[str], folder: Path, *, secure: bool = False) -> Report:
    """One call a language, one after another.

    Args:
        folder: gets `report.json`, recordings and speech.
        secure: SIP over TLS and encrypted audio, at both ends.
    """
    console = Console(width=150)
    with tunnel(node) as loaded:
        program = find_program(install.programs(console.print))
        phones = NamespacedPhones(program.programs, program.modules)
        station = LabStation(loaded, phones, keep_logs=folder / "phones", node=node, secure=secure)
        calls = [
            NamedCall(
                station.plan(speech.turns(code, scripts.load(code), folder / "speech"), language=code), code, language(code).english_name
            )
            for code in languages
        ]
        return asyncio.run(run_calls(station, calls, folder, folder / "report.json", console))


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab.call", description=__doc__)
    parser.add_argument("--node", type=int, default=1)
    parser.add_argument("--language", action="append", choices=sorted(scripts.LANGUAGES))
    parser.add_argument("--secure", action="store_true", help="SIP over TLS and encrypted audio, at both ends")
    parser.add_argument("--out", type=Path, default=layout.FOLDER / "call")
    given = parser.parse_args()
    report = place_calls(Node(given.node), given.language or ["ta"], given.out, secure=given.secure)
    return 0 if report.summary.passed else 1


if __name__ == "__main__":
    sys.exit(main())
