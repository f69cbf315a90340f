"""`python tone_gateway.py --worker N --config FILE`: a gateway worker as it is, but for the models: its interpreter speaks in tones."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tone_interpreter import ToneInterpreter

from appliance.config.load import LoadedConfig, load
from appliance.gateway.access import Credentials
from appliance.gateway.app import create_app
from appliance.gateway.interpretation import CallContext
from appliance.gateway.journal import Journal
from appliance.gateway.server import WorkerServer, listen
from appliance.gateway.worker import Worker
from appliance.telemetry import logs


async def make(context: CallContext) -> ToneInterpreter:
    return ToneInterpreter(context)


@asynccontextmanager
async def open_worker(loaded: LoadedConfig, number: int) -> AsyncIterator[Worker]:
    async with Journal.open(loaded, f"gateway-{number}") as journal:
        worker = Worker(number, loaded.config, journal.publish, make)
        journal.session_of = worker.session
        yield worker


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker", type=int, required=True)
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args()
    loaded = load(options.config)
    gateway = loaded.config.gateway
    logs.configure(loaded.config.telemetry.log_level, f"gateway-{options.worker}")
    credentials = Credentials(gateway.ari_user, loaded.secret(gateway.ari_password))
    with listen(gateway.host, gateway.port + options.worker - 1) as listener:
        WorkerServer(create_app(lambda: open_worker(loaded, options.worker), credentials)).run(sockets=[listener])


if __name__ == "__main__":
    main()
