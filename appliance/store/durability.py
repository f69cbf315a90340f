"""How safe a record is."""

from __future__ import annotations

import enum


class Durability(enum.Enum):
    """Where an event is once `record` returns; all but the last two survive a crash of the process and a power cut."""

    DATABASE = "database"
    SPOOL = "spool"
    NOT_KEPT = "not-kept"
    """The event leaves no record by design."""
    MEMORY = "memory"
    """Neither the database nor the disk takes it; it is tried again until the process ends."""
    LOST = "rejected"
    """No database can take it, its text is in the log or the spool folder's `.rejected` file; or too many waited before it."""
