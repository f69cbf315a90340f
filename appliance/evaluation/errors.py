"""What an evaluation may meet.

ApplianceError
+-- EvaluationError     a manifest, an audio file, a report or an option cannot be used; or a model server does not start
"""

from __future__ import annotations

from appliance.errors import ApplianceError


class EvaluationError(ApplianceError):
    pass
