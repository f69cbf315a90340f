"""What goes wrong when a node is looked after.

ApplianceError
+-- NodeError
    +-- ArchiveError     a backup cannot be written, or is none
"""

from __future__ import annotations

from appliance.errors import ApplianceError


class NodeError(ApplianceError):
    """Something on this machine is not as it must be."""


class ArchiveError(NodeError):
    """A backup is damaged, incomplete or from elsewhere."""
