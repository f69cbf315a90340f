"""Figures of the appliance on this machine: engines, batching, the gateway under load, real calls at once."""
