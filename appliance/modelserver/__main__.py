"""`python -m appliance.modelserver --instance NAME --config FILE`: serve one kind of model on its Unix socket.

NAME is `stt`, `mt` or `tts`, or one of several as in `stt-2`; `stt-fallback` serves the starter engine whatever is configured.

Ends with 0 after SIGTERM or SIGINT, 2 when it must not start (configuration, model files, engine, socket), 1 when it broke.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

# Small matrices here, on cores that other processes want too: numpy's own threads made a 3 s decode take 40 ms in place of 10.
# It must be said before numpy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import uvicorn
from litestar.handlers import HTTPRouteHandler

from appliance import catalog
from appliance.config.instances import is_fallback, kind_of
from appliance.config.load import LoadedConfig, load
from appliance.engines import registry
from appliance.errors import ApplianceError
from appliance.modelserver import app, served
from appliance.modelserver.server import ModelServer
from appliance.modelserver.sockets import listen
from appliance.modelserver.standing_in import standing_in
from appliance.telemetry import logs, metrics
from appliance.telemetry.systemd import Unit
from appliance.web.entrance import Crowd, allow_many_files, entrance

log = logging.getLogger("appliance.modelserver")

IDENTIFIER_MODEL = "fasttext/lid.176"
MOST_CONNECTIONS = 1024
"""At once: a request of each leg of many workers, and some who only look."""
GRACE_S = 5
"""For requests that run when the server is told to stop."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m appliance.modelserver", description=__doc__)
    parser.add_argument("--instance", "--kind", dest="name", metavar="NAME", required=True, help="stt, mt, tts, or as in stt-2")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--socket", type=Path, help="instead of NAME.sock in run_dir")
    options = parser.parse_args(arguments)
    kind = kind_of(options.name)
    if kind is None:
        parser.error(f"argument --instance: {options.name!r} is no name of a model server; allowed: stt, mt, tts, or as in stt-2")
    try:
        loaded = load(options.config)
        logs.configure(loaded.config.telemetry.log_level, f"model-{options.name}")
        server, routes = prepare(kind, standing_in(loaded) if is_fallback(options.name) else loaded)
        path = options.socket or loaded.socket(options.name)
        allow_many_files()
        listener = listen(path)
    except ApplianceError as error:
        sys.stderr.write(f"model server {options.name} does not start: {error}\n")
        return 2
    engine = server.served.capabilities.name
    log.info("listening", extra={"socket": str(path), "engine": engine, "model": server.served.model})
    unit = Unit()
    unit.status("the first request is computed")
    failed = False

    def warm_up_failed() -> None:
        nonlocal failed
        failed = True
        log.error("the warm-up failed, the server ends", extra={"detail": server.health.detail})
        http.should_exit = True

    http = uvicorn.Server(
        uvicorn.Config(
            app.create_app(server, routes, warm_up_failed, unit),
            loop="uvloop",
            http=entrance(lambda what: metrics.REJECTED.labels("connection", what).inc(), Crowd(most=MOST_CONNECTIONS)),
            lifespan="on",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GRACE_S,
        )
    )

    def stop(*_: object) -> None:
        unit.stopping()
        http.should_exit = True

    # uvicorn ends on these signals and then raises them again for whoever listened before it: here, nobody who minds.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    try:
        http.run(sockets=[listener])
    finally:
        with suppress(OSError):
            path.unlink()
    log.info("stopped")
    return 1 if failed or not http.started else 0


def prepare(kind: served.Kind, loaded: LoadedConfig) -> tuple[ModelServer[Any, Any], list[HTTPRouteHandler]]:
    """The server of a kind with its model checked and loaded, not yet warm, and its routes.

    Raises:
        ApplianceError: what is missing or corrupted.
    """
    config = loaded.config
    models = loaded.path(config.models.folder)
    if kind == "stt":
        check_files(config.stt.engine, config.stt.model, models)
        check_files("fasttext", IDENTIFIER_MODEL, models)
        recognition = ModelServer(served.recognition(config, models))
        return recognition, app.recognition_routes(recognition, registry.identifier())
    if kind == "mt":
        check_files(config.mt.engine, config.mt.model, models)
        translation = ModelServer(served.translation(config, models))
        return translation, app.translation_routes(translation)
    check_files(config.tts.engine, config.tts.model, models)
    speech = ModelServer(served.speech(config, models))
    return speech, app.speech_routes(speech)


def check_files(engine: str, model: str, models: Path) -> None:
    """Refuse a model whose files are not those of the catalogue; one the catalogue does not know is served with a warning.

    Raises:
        ApplianceError: naming the files.
    """
    if engine in ("stub", "espeak-ng") or not model:
        return
    file = models / catalog.entries.FILE_NAME
    if not file.is_file():
        log.warning("no catalogue, so the model's files are not checked", extra={"catalogue": str(file), "model": model})
        return
    known = catalog.load(file)
    if model in known.models:
        catalog.require_intact(known, model)
    else:
        log.warning("not in the catalogue, so the model's files are not checked", extra={"catalogue": str(file), "model": model})


if __name__ == "__main__":
    sys.exit(main())
