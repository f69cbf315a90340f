"""How well the active engines do: manifests in, scores out, through the same model servers and client as a call."""
