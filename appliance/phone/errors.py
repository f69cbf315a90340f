"""Errors of test calls.

ApplianceError
+-- PhoneError             a test telephone cannot be used
|   +-- PhoneProgramError  baresip is not installed
|   +-- PhoneDied          its process has ended
+-- AudioFileError         a speech file cannot be used
+-- DemoScriptError        a conversation of the demo is malformed
"""

from __future__ import annotations

from appliance.errors import ApplianceError


class PhoneError(ApplianceError):
    """A test telephone did not start, did not register or refused a command."""


class PhoneProgramError(PhoneError):
    """baresip is not installed; trying again does not help."""


class PhoneDied(PhoneError):
    """The telephone's process has ended; a new one can be started."""


class AudioFileError(ApplianceError):
    """A speech file is missing, is no WAV file or holds no sound."""


class DemoScriptError(ApplianceError):
    """A conversation of the demo is malformed; the message names file and line."""
