"""Errors of the store.

ApplianceError
+-- StoreError                the database or the spool cannot be used as asked
"""

from __future__ import annotations

from appliance.errors import ApplianceError


class StoreError(ApplianceError):
    """The database cannot be used: what is wrong and with which one."""
