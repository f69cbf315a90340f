"""The five calls of `appliance demo`: conversations that no model was trained on, in voices no model has heard."""
