"""Python's collector of reference cycles, set for a process that has a beat of 20 ms to keep."""

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

T = TypeVar("T")


def settle() -> None:
    """To be called when what lasts as long as the process is there: the collector never looks at it again.

    It is some hundred thousand objects of libraries, prompts and models; to go through them stops everything for a tenth of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)


def settled(opens: Callable[[], AbstractAsyncContextManager[T]]) -> Callable[[], AbstractAsyncContextManager[T]]:
    """What opens something, with `settle` when it is open."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[T]:
        async with opens() as it:
            settle()
            yield it

    return opened
