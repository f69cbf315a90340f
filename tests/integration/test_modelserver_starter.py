"""The starter models in real server processes, asked by the gateway's client: what they understand, how fast, how exactly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from faster_whisper import WhisperModel
from model_servers import REPOSITORY, model_server, write_config

from appliance import catalog
from appliance.audio import g711
from appliance.engines.base import RecogniseJob, Samples
from appliance.engines.whisper_short import WhisperShort
from appliance.modelserver.client import ModelClient

MODELS = REPOSITORY / "models"
STT, MT = MODELS / "starter" / "stt", MODELS / "starter" / "mt"
needs_stt = pytest.mark.skipif(not STT.is_dir(), reason="the starter recogniser has not been made yet")
needs_mt = pytest.mark.skipif(not MT.is_dir(), reason="the starter translator has not been made yet")

SENTENCES = {
    "ta": ("என் laptop இன்று ரொம்ப மெதுவாக ஓடுகிறது.", "मेरा laptop आज बहुत slow चल रहा है."),
    "te": ("నా laptop ఈరోజు చాలా నెమ్మదిగా నడుస్తోంది.", "मेरा laptop आज बहुत slow चल रहा है."),
    "kn": ("ನನ್ನ laptop ಇಂದು ತುಂಬಾ ನಿಧಾನವಾಗಿ ಓಡುತ್ತಿದೆ.", "मेरा laptop आज बहुत slow चल रहा है."),
    "mr": ("माझा laptop आज खूप हळू चालत आहे.", "मेरा laptop आज बहुत slow चल रहा है."),
    "hi": ("मेरा laptop आज बहुत धीरे चल रहा है.", "मेरा laptop आज बहुत slow चल रहा है."),
}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Servers of the default configuration for the starter models there are, and speech."""
    config = write_config(tmp_path_factory.mktemp("st"), "", MODELS)
    with model_server("tts", config) as tts, model_server("mt" if MT.is_dir() else "tts-none", config, ready=MT.is_dir()):
        if STT.is_dir():
            with model_server("stt", config):
                yield tts.socket.parent
        else:
            yield tts.socket.parent


@pytest.fixture
async def client(run_dir: Path) -> AsyncIterator[ModelClient]:
    client = ModelClient(run_dir)
    yield client
    await client.aclose()


def telephone(samples: Samples) -> Samples:
    """As it comes out of a G.711 call, with the listener's silence around it."""
    quiet = np.concatenate([np.zeros(3200, np.int16), (samples * 0.5).astype(np.int16), np.zeros(6400, np.int16)])
    narrow = quiet.reshape(-1, 2).mean(axis=1).astype(np.int16) if len(quiet) % 2 == 0 else quiet[:-1].reshape(-1, 2).mean(axis=1).astype(np.int16)
    heard = g711.decode_ulaw(g711.encode_ulaw(narrow))
    wide = np.interp(np.arange(2 * len(heard)) / 2, np.arange(len(heard)), heard)
    return wide.astype(np.int16)
