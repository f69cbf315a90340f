"""Errors of the configuration.

ApplianceError
+-- ConfigError          the file cannot be read or used
    +-- SecretError      a secret it names cannot be had
"""

from __future__ import annotations

from appliance.errors import ApplianceError


class ConfigError(ApplianceError):
    """The configuration cannot be used; one line per problem, each with file, line, key and what is allowed."""


class SecretError(ConfigError):
    """A secret that the configuration names is missing, empty or unreadable."""
