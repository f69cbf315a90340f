"""Why a benchmark cannot be run."""

from __future__ import annotations

from appliance.errors import ApplianceError


class BenchError(ApplianceError):
    """What is measured did not start, or broke; nothing was measured wrongly in silence."""
