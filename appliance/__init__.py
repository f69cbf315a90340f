"""Setu, the interpreter appliance: two parties on one phone call, each heard in the other's language."""

__version__ = "0.1.0"
