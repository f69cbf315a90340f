"""Python's collector of reference cycles, set for a process that has a beat of 20 ms to keep.

Left to itself it looks at everything so rarely that calls which have ended, each a web of callbacks and channels around its audio,
add up to hundreds of MB. So it is told when there are enough of them.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

YOUNG = 20_000
"""New containers, less those given back, after which the collector looks at them: with the usual 700 it does so many times a
second, nearly always in vain."""
MIDDLE, OLD = 20, 20
"""Looks at the young after which it looks at the older ones as well, and of those until it looks at everything."""

FEWEST_ENDED, SHARE_ENDED = 10, 0.25
"""Ended calls, and their share of those that go on, that are worth a look: it takes as long as there are calls, 0.1 ms for each."""

T = TypeVar("T")


def settle() -> None:
    """To be called when what lasts as long as the process is there: the collector never looks at it again.

    It is some hundred thousand objects of libraries, prompts and models; to go through them stops everything for a tenth of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)


class EndedCalls:
    """Gives back the memory of calls that have ended."""

    def __init__(self) -> None:
        self._seen = 0

    def give_back(self, ended: int, running: int) -> bool:
        """To be called now and then, between two beats.

        Args:
            ended: calls that have ended since the start.
            running: those that go on.

        Returns:
            Whether there were enough to look for.
        """
        if ended - self._seen < max(FEWEST_ENDED, SHARE_ENDED * running):
            return False
        self._seen = ended
        gc.collect()
        return True


def settled(opens: Callable[[], AbstractAsyncContextManager[T]]) -> Callable[[], AbstractAsyncContextManager[T]]:
    """What opens something, with `settle` when it is open."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[T]:
        async with opens() as it:
            settle()
            yield it

    return opened
