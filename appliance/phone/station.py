"""Test telephones beside a running stack: its configuration says where to call, who may, and where events and models are."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from appliance.config.load import LoadedConfig
from appliance.modelserver.client import ModelClient
from appliance.phone.call_report import report_call
from appliance.phone.conversation import CallPlan, Turn, Watcher, hold
from appliance.phone.errors import PhoneError
from appliance.phone.phone_config import PhoneAccount
from appliance.phone.program import PhoneProgram, find_program, work_folder
from appliance.phone.report import CallReport
from appliance.stack.programs import Programs
from appliance.store.event_stream import EventStream
from appliance.store.redis_link import RedisLink

AGENT_ADDRESS = "127.0.0.3"
"""Another one than the callers': a trunk is known by its address."""
ANSWER_AFTER_S = 0.5
"""An agent who sits beside his telephone."""


@dataclass
class Station:
    """Places calls to one stack and reports them."""

    loaded: LoadedConfig
    program: PhoneProgram
    agent: str = ""
    """Name of the agent's account; the first one by default."""
    keep_logs: Path | None = None
    """Folder that gets the telephones' own files when a call goes wrong."""
    calls: list[CallReport] = field(default_factory=list)

    def account_of_caller(self, number: str) -> PhoneAccount:
        """A telephone behind the first trunk.

        Raises:
            PhoneError: no trunk is one address of this machine.
        """
        addresses = [
            trunk.address for trunk in self.loaded.config.telephony.trunks if trunk.address.startswith("127.") and "/" not in trunk.address
        ]
        if not addresses:
            raise PhoneError(f"{self.loaded.file} has no trunk with one address in 127.0.0.0/8, which test calls come from")
        return PhoneAccount(number, addresses[0], self._server)

    def account_of_agent(self) -> PhoneAccount:
        """The agent's telephone, which registers and answers.

        Raises:
            PhoneError: there is no such agent.
        """
        agents = {account.name: account for account in self.loaded.config.telephony.agents}
        name = self.agent or next(iter(agents), "")
        if name not in agents:
            raise PhoneError(f"{self.loaded.file} has no agent {name!r}, allowed: {', '.join(agents) or 'none, as there are no agents'}")
        password = self.loaded.secret(agents[name].password)
        return PhoneAccount(name, AGENT_ADDRESS, self._server, password, registers=True, answer_after_s=ANSWER_AFTER_S)

    def plan(self, turns: Sequence[Turn], *, number: str = "", caller: str = "", language: str | None = None) -> CallPlan:
        """A call to `number` (the company's by default) from `caller` (by default a number that never called before)."""
        telephony = self.loaded.config.telephony
        return CallPlan(
            number=number or telephony.company_number,
            caller=self.account_of_caller(caller or unused_number()),
            agent=self.account_of_agent(),
            turns=turns,
            language=language,
            ring_s=telephony.ring_s,
        )

    async def call(self, plan: CallPlan, watcher: Watcher, audio_dir: Path, name: str, relative_to: Path) -> CallReport:
        """Place one call and measure it; see `report_call` for the files.

        Raises:
            PhoneError: a telephone cannot be used.
        """
        folder = work_folder()
        link = RedisLink(self.loaded.config.redis.url)
        models = ModelClient(self.loaded.run_dir)
        try:
            record = await hold(plan, self.program, folder, EventStream(link).read, watcher)
            report = await report_call(record, models, audio_dir, name, relative_to)
        except PhoneError:
            self._keep(folder, name)
            raise
        finally:
            await models.aclose()
            await link.aclose()
            shutil.rmtree(folder, ignore_errors=True)
        self.calls.append(report)
        return report

    @property
    def _server(self) -> str:
        telephony = self.loaded.config.telephony
        host = "127.0.0.1" if telephony.bind in ("0.0.0.0", "::") else telephony.bind  # noqa: S104
        return f"{host}:{telephony.sip_port}"

    def _keep(self, folder: Path, name: str) -> None:
        if self.keep_logs is not None:
            shutil.copytree(folder, self.keep_logs / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("silence.wav", "accounts"))


def station(loaded: LoadedConfig, programs: Programs, *, agent: str = "", keep_logs: Path | None = None) -> Station:
    """Test telephones for the stack with this configuration.

    Raises:
        PhoneProgramError: baresip is not installed.
    """
    return Station(loaded, find_program(programs), agent, keep_logs)


def unused_number() -> str:
    """An Indian mobile number, drawn anew each time: the appliance remembers the language of those it knows."""
    return f"9{secrets.randbelow(10**9):09}"
