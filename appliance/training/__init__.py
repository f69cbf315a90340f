"""How the starter models are made: phrasebook, synthetic speech, recogniser, translator, evaluation sets."""
