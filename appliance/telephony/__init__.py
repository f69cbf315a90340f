"""Asterisk: call control over ARI, media over WebSockets, the states of a call."""
