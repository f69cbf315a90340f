"""What keeps a stack from starting.

ApplianceError
+-- StackError
    +-- NotInstalled     a program is missing and could not be installed
    +-- PortTaken        somebody else listens where the stack wants to
    +-- ProcessDied      a process of the stack ended by itself
    +-- NotReady         the processes run, but the stack did not become ready in time
"""

from __future__ import annotations

from appliance.errors import ApplianceError


class StackError(ApplianceError):
    """The stack cannot be started or has fallen over."""


class NotInstalled(StackError):
    """A program is missing and could not be installed; `hint` is the command that puts it right."""


class PortTaken(StackError):
    """A port of the configuration is in use; the message names each port and its owner."""


class ProcessDied(StackError):
    """A process ended by itself, and the others were stopped."""


class NotReady(StackError):
    """The stack runs but does not take calls; the message says which part is not up."""
