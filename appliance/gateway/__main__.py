"""`python -m appliance.gateway --worker N --config FILE`: serve one gateway worker.

Ends with 0 after SIGTERM or SIGINT, 2 when it must not start (configuration, port, the recogniser's `refusal.json`), 1 when it broke.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from appliance.config.load import load
from appliance.errors import ApplianceError
from appliance.gateway.access import Credentials
from appliance.gateway.app import create_app
from appliance.gateway.assembly import open_worker
from appliance.gateway.collector import settled
from appliance.gateway.control_line import asterisk_address
from appliance.gateway.server import WorkerServer, listen
from appliance.interpreter.belief import Belief
from appliance.interpreter.calibration import of_recogniser
from appliance.telemetry import logs
from appliance.telemetry.systemd import Unit

log = logging.getLogger("appliance.gateway")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m appliance.gateway", description=__doc__)
    parser.add_argument("--worker", type=int, required=True, help="number of this worker, from 1")
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args(arguments)
    process = f"gateway-{options.worker}"
    try:
        loaded = load(options.config)
        gateway = loaded.config.gateway
        logs.configure(loaded.config.telemetry.log_level, process)
        credentials = Credentials(gateway.ari_user, loaded.secret(gateway.ari_password))
        belief = Belief(loaded.config, of_recogniser(loaded))
        listener = listen(gateway.host, gateway.port + options.worker - 1)
    except ApplianceError as error:
        sys.stderr.write(f"{process} does not start: {error}\n")
        return 2
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    unit = Unit()
    opened = settled(lambda: open_worker(loaded, options.worker, belief, unit))
    app = create_app(opened, credentials, asterisk_address(loaded.config))
    server = WorkerServer(app, unit)
    with listener:
        log.info("listening", extra={"host": gateway.host, "port": gateway.port + options.worker - 1})
        if belief.calibration is None:
            log.info("the recogniser has no calibration: refusals are decided by its own probabilities")
        server.run(sockets=[listener])
    log.info("stopped")
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
