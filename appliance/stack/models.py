"""Whether the models of a configuration are there and whole, asked before anything is started."""

from __future__ import annotations

from appliance import catalog
from appliance.config.load import LoadedConfig
from appliance.config.schema import MtServer, SttServer

IDENTIFIER = "fasttext/lid.176"
"""Served beside the recogniser, whichever that is."""


def check_models(loaded: LoadedConfig) -> None:
    """Compares the files of every model this node will serve with the catalogue of its models folder.

    A model of a node's own that the catalogue does not know is left to its server, which says so in its log.

    Raises:
        ApplianceError: names every file that is missing or not what the catalogue says.
    """
    config = loaded.config
    file = loaded.path(config.models.folder) / catalog.entries.FILE_NAME
    if not file.is_file():
        return
    known = catalog.load(file)
    served = [IDENTIFIER] + [part.model for part in (config.stt, config.mt, config.tts) if part.engine != "stub"]
    served += [starter.model for part, starter in ((config.stt, SttServer()), (config.mt, MtServer())) if part.fallback]
    wanted = [known.models[name] for name in served if name in known.models]
    problems = [problem for model in wanted for problem in catalog.verify(model, known.folder)]
    if problems:
        raise catalog.ModelFilesError("\n".join(str(problem) for problem in problems))
