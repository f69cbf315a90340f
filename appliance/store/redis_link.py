"""One connection pool to Redis whose absence nobody has to handle: operations give a default, and one log line tells.

Redis holds only what a call can do without, so every operation is tried once, briefly.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from appliance.telemetry import metrics

TIMEOUT_S = 0.5
"""For a connection and for an answer; Redis is on this machine or next to it."""
REST_S = 1.0
"""After a failure Redis is left alone this long, so that a dead address costs a call one time-out and not one each time."""

_log = logging.getLogger(__name__)
T = TypeVar("T")


def connect(url: str, *, timeout_s: float = TIMEOUT_S) -> Redis:
    """A client that connects when first used and does not retry by itself."""
    return Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=timeout_s,
        socket_connect_timeout=min(timeout_s, TIMEOUT_S),
        retry=Retry(NoBackoff(), 0),
    )


class RedisLink:
    """Runs operations on Redis and knows whether it answers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.redis = connect(url)
        self._up: bool | None = None
        self._rest_until = 0.0

    @property
    def up(self) -> bool:
        """Whether the last operation was answered."""
        return bool(self._up)

    async def attempt(self, name: str, operation: Callable[[Redis], Awaitable[Any]], default: T) -> T:
        """The result of `operation`, or `default` when Redis does not answer.

        Args:
            name: of the operation in metrics and logs.
        """
        if time.monotonic() < self._rest_until:
            metrics.REDIS_ERRORS.labels(name).inc()
            return default
        try:
            result: T = await operation(self.redis)
        except (RedisError, OSError, TimeoutError) as error:
            self.failed(name, error)
            return default
        self.answered()
        return result

    def failed(self, name: str, error: Exception) -> None:
        """Note that the operation `name` was not answered."""
        metrics.REDIS_ERRORS.labels(name).inc()
        metrics.REDIS_UP.set(0)
        self._rest_until = time.monotonic() + REST_S
        if self._up is not False:
            _log.warning(
                "Redis does not answer, going on without it", extra={"operation": name, "reason": str(error) or type(error).__name__}
            )
        self._up = False

    def answered(self) -> None:
        """Note that Redis answered."""
        metrics.REDIS_UP.set(1)
        self._rest_until = 0.0
        if self._up is False:
            _log.info("Redis answers again")
        self._up = True

    async def aclose(self) -> None:
        await self.redis.aclose()
