"""The whole appliance on one machine without systemd: Asterisk, Redis, model servers, gateway."""
