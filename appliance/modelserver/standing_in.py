"""What a fallback instance serves: the starter engine, which every node has and which needs no GPU."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from appliance.config.load import LoadedConfig
from appliance.config.schema import MtServer, SttServer, TtsServer


def standing_in(loaded: LoadedConfig) -> LoadedConfig:
    """The configuration with the starter engine in the place of each engine: that is what the defaults name."""
    config = msgspec.structs.replace(loaded.config, stt=SttServer(), mt=MtServer(), tts=TtsServer())
    return replace(loaded, config=config)
