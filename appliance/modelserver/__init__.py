"""Servers that batch the requests of all calls to an engine, and the client that asks them."""
