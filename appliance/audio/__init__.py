"""Telephone audio: companding, noise."""
