"""Schema changes of the call store, in order; applied when the store opens."""
