"""The root of every error the appliance raises on purpose.

ApplianceError
+-- ConfigError          (config)       the configuration file cannot be used
+-- StoreError           (store)        the database cannot be used
+-- ...                                 one tree per layer
"""

from __future__ import annotations


class ApplianceError(Exception):
    """Something a person can put right: its text is all they need, and no traceback is shown.

    Attributes:
        message: what happened, to what, and what is allowed; one line, or one line per problem.
        hint: what to do about it, a command where there is one; empty when the message says it all.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message
