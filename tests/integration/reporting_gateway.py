"""`python reporting_gateway.py REPORTS --worker N --config FILE`: a gateway worker as it is, which writes down what its store reports.

Each line of the file REPORTS is one event of a call, once the store has said where it is: `DURABILITY JSON`.
"""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec

from appliance.events import Event
from appliance.gateway.__main__ import main
from appliance.store.calls import CallStore
from appliance.store.durability import Durability


class ReportingStore(CallStore):
    """Only the report is added: what a worker submits is answered to nobody."""

    reports = -1

    def submit(self, event: Event) -> None:
        answer: asyncio.Future[Durability] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda answer: self._tell(event, answer.result()))
        self._enqueue(event, answer)

    def _tell(self, event: Event, where: Durability) -> None:
        os.write(self.reports, where.value.encode() + b" " + msgspec.json.encode(event) + b"\n")


if __name__ == "__main__":
    import appliance.gateway.journal

    ReportingStore.reports = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    appliance.gateway.journal.CallStore = ReportingStore  # type: ignore[misc]
    sys.exit(main(sys.argv[2:]))
