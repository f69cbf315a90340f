"""What can go wrong while a bundle is made."""

from __future__ import annotations

from appliance.errors import ApplianceError


class BundleError(ApplianceError):
    """The bundle could not be made; nothing was left behind."""
