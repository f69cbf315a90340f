"""`python tone_gateway.py --worker N --config FILE`: a gateway worker as it is, but for the models: its interpreter speaks in tones."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tone_interpreter import ToneInterpreter

from appliance.config.load import LoadedConfig, load
from appliance.gateway.access import Credentials
from appliance.gateway.app import create_app
from appliance.gateway.control_line import asterisk_address
from appliance.gateway.interpretation import CallContext
from appliance.gateway.journal import Journal
from appliance.gateway.server import WorkerServer, listen
from appliance.gateway.worker import Worker
from appliance.telemetry import logs


async def make(context: CallContext) -> ToneInterpreter:
    return ToneInterpreter(context)


class MuteWorker(Worker):
    """It does its work and takes calls, but to the dialplan it is dead, as is one that takes more than a second to answer."""

    def health(self, *, for_call: bool = False) -> dict[str, Any]:
        told = super().health(for_call=for_call)
        return told if for_call else told | {"status": ""}


@asynccontextmanager
async def open_worker(loaded: LoadedConfig, number: int, *, mute: bool) -> AsyncIterator[Worker]:
    async with Journal.open(loaded, f"gateway-{number}") as journal:
        worker = (MuteWorker if mute else Worker)(number, loaded.config, journal.publish, make)
        journal.session_of = worker.session
        yield worker


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker", type=int, required=True)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--mute", action="store_true", help="/health says nothing when no call waits for it")
    options = parser.parse_args()
    loaded = load(options.config)
    gateway = loaded.config.gateway
    logs.configure(loaded.config.telemetry.log_level, f"gateway-{options.worker}")
    credentials = Credentials(gateway.ari_user, loaded.secret(gateway.ari_password))
    with listen(gateway.host, gateway.port + options.worker - 1) as listener:
        opened = partial(open_worker, loaded, options.worker, mute=options.mute)
        app = create_app(opened, credentials, asterisk_address(loaded.config))
        WorkerServer(app).run(sockets=[listener])


if __name__ == "__main__":
    main()
