"""Where speech is in a stream of audio: voice activity, endpointing, levels."""
