"""Where the counts of the control and media sockets go: `telephony` only calls a function with a code word."""

from __future__ import annotations

from prometheus_client import Counter

from appliance.telemetry import metrics

ARI_MESSAGES = Counter("setu_ari_messages", "Messages from Asterisk that led to nothing", ["what"], registry=metrics.REGISTRY)
MEDIA_FAULTS = Counter("setu_media_faults", "Irregularities on media sockets", ["what"], registry=metrics.REGISTRY)

_MESSAGES = frozenset({"event-ignored", "event-unowned", "malformed", "answer-unknown"})
_FAULTY = frozenset({"malformed", "odd-length", "too-big", "stalled"})
_DROPPED = {"late-out": ("out", "late"), "unread-in": ("in", "unread")}


def ari(what: str) -> None:
    """A request by its result, or a message that led to nothing."""
    if what in _MESSAGES:
        ARI_MESSAGES.labels(what).inc()
        if what in _FAULTY:
            metrics.REJECTED.labels("ari", what).inc()
    else:
        metrics.ARI_REQUESTS.labels(what).inc()


def media(what: str, times: int) -> None:
    """Frames given up, or an irregularity."""
    if what in _DROPPED:
        metrics.MEDIA_DROPPED.labels(*_DROPPED[what]).inc(times)
    else:
        MEDIA_FAULTS.labels(what).inc(times)
        if what in _FAULTY:
            metrics.REJECTED.labels("media", what).inc(times)


def keys_dropped() -> None:
    """A keypad digit that came too soon after many others."""
    metrics.REJECTED.labels("keys", "too-fast").inc()


def fallback(reason: str) -> None:
    metrics.FALLBACKS.labels(metrics.label("reason", reason)).inc()
