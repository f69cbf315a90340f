"""Every metric of the appliance. Each process exports its own at `/metrics`; names start with `setu_`, times are seconds.

Labels hold only values from short lists: free text (a reason, an outcome) goes through `label`.
"""

from __future__ import annotations

import re

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from appliance import __version__

disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

STAGE_BUCKETS_S = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.25, 0.4, 0.6, 0.8, 1.0, 1.2, 1.6, 2.0, 3.0, 5.0, 10.0)
"""Dense around the 1.2 s (median) and 2.0 s (95th percentile) that a call may take."""
TICK_BUCKETS_S = (0.0005, 0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.01, 0.012, 0.014, 0.016, 0.02, 0.03, 0.04, 0.1, 0.5)
"""A tick has 20 ms."""
WAIT_BUCKETS_S = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 2.0)
SHARE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
BATCH_BUCKETS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128, 256)

BUILD = Info("setu_build", "What is running", registry=REGISTRY)
BUILD.info({"version": __version__})

# Calls
CALLS_ACTIVE = Gauge("setu_calls_active", "Calls in progress", ["language", "state"], registry=REGISTRY)
CALLS_STARTED = Counter("setu_calls_started", "Calls taken", registry=REGISTRY)
CALLS_ENDED = Counter("setu_calls_ended", "Calls over, by how they went", ["outcome", "language"], registry=REGISTRY)
CALLS_REFUSED = Counter("setu_calls_refused", "Times a worker was asked to take a call and did not, by why", ["reason"], registry=REGISTRY)
CALL_DURATION = Histogram(
    "setu_call_duration_seconds", "Length of a call", buckets=(5, 15, 30, 60, 120, 300, 600, 1200, 2400, 3600), registry=REGISTRY
)
LANGUAGE_DECISIONS = Counter("setu_language_decisions", "Caller languages decided, by what decided", ["language", "how"], registry=REGISTRY)
LANGUAGE_DECISION_DELAY = Histogram(
    "setu_language_decision_seconds",
    "First speech of the caller to the decision",
    buckets=(0.5, 1, 2, 3, 4, 6, 8, 12, 20, 40),
    registry=REGISTRY,
)
KEYS_PRESSED = Counter("setu_keys_pressed", "Keypad digits", ["party", "digit"], registry=REGISTRY)

# Lanes
UTTERANCES = Counter("setu_utterances", "Segments of utterances, by what became of them", ["lane", "outcome", "reason"], registry=REGISTRY)
STAGE_DELAY = Histogram(
    "setu_stage_seconds", "Delay of one stage for an interpreted segment", ["lane", "stage"], buckets=STAGE_BUCKETS_S, registry=REGISTRY
)
DELAY = Histogram(
    "setu_delay_seconds", "End of speech to the first translated frame sent", ["lane"], buckets=STAGE_BUCKETS_S, registry=REGISTRY
)
CONFIDENCE = Histogram(
    "setu_confidence", "Confidence of a recognised and translated segment", ["lane"], buckets=SHARE_BUCKETS, registry=REGISTRY
)
FALLBACKS = Counter("setu_fallbacks", "Times a call went on with less than it should have", ["reason"], registry=REGISTRY)

# Media
MEDIA_GAPS = Counter("setu_media_gaps", "Stretches without audio from a party", ["party"], registry=REGISTRY)
MEDIA_DROPPED = Counter("setu_media_dropped_frames", "20 ms frames given up", ["direction", "reason"], registry=REGISTRY)
LATE_TICKS = Counter("setu_late_ticks", "Ticks of the media clock that started over one frame late", registry=REGISTRY)
TICK = Histogram("setu_tick_seconds", "Work of one tick over all legs", buckets=TICK_BUCKETS_S, registry=REGISTRY)
LEGS_ACTIVE = Gauge("setu_legs_active", "Legs with a media connection", registry=REGISTRY)

# Telephony
ARI_CONNECTED = Gauge("setu_ari_connected", "1 while Asterisk's control connection is up", registry=REGISTRY)
ARI_REQUESTS = Counter("setu_ari_requests", "Requests to Asterisk", ["result"], registry=REGISTRY)
CONNECTIONS_REFUSED = Counter("setu_connections_refused", "WebSocket connections turned away", ["endpoint", "reason"], registry=REGISTRY)

# Hostile or broken input
REJECTED = Counter("setu_rejected", "Input turned away, by where it came in and what was wrong", ["where", "what"], registry=REGISTRY)

# Models, seen from the gateway
MODEL_REQUESTS = Counter("setu_model_requests", "Requests to a model server", ["kind", "result"], registry=REGISTRY)
MODEL_REQUEST_DURATION = Histogram(
    "setu_model_request_seconds", "Time of a request to a model server", ["kind"], buckets=STAGE_BUCKETS_S, registry=REGISTRY
)
MODEL_CIRCUIT_OPEN = Gauge("setu_model_circuit_open", "1 while a model server is left alone", ["instance"], registry=REGISTRY)
MODEL_FAILOVERS = Counter(
    "setu_model_failovers", "Requests sent to another instance, by what the first one's failure was", ["kind", "reason"], registry=REGISTRY
)

# Models, in the server
ENGINE_READY = Gauge("setu_engine_ready", "1 once the warm-up request was answered", ["kind", "engine"], registry=REGISTRY)
ENGINE_REQUESTS = Counter("setu_engine_requests", "Requests of a model server, by result", ["kind", "result"], registry=REGISTRY)
BATCH_SIZE = Histogram("setu_batch_size", "Requests computed together", ["kind"], buckets=BATCH_BUCKETS, registry=REGISTRY)
BATCH_WAIT = Histogram("setu_batch_wait_seconds", "Wait of a request for its batch", ["kind"], buckets=WAIT_BUCKETS_S, registry=REGISTRY)
ENGINE_COMPUTE = Histogram(
    "setu_engine_compute_seconds", "Time of a batch in the engine", ["kind"], buckets=STAGE_BUCKETS_S, registry=REGISTRY
)
ENGINE_QUEUE = Gauge("setu_engine_queue", "Requests waiting", ["kind"], registry=REGISTRY)

# Memory
REDIS_UP = Gauge("setu_redis_up", "1 while Redis answers", registry=REGISTRY)
REDIS_ERRORS = Counter("setu_redis_errors", "Redis operations that failed", ["operation"], registry=REGISTRY)
STREAM_DROPPED = Counter(
    "setu_stream_dropped_events", "Events not published because Redis was away or slow for too long", registry=REGISTRY
)
STORE_UP = Gauge("setu_store_up", "1 while the database takes records", registry=REGISTRY)
STORE_EVENTS = Counter(
    "setu_store_events",
    "Events of calls by where they went: database, spool, memory, or lost for good: rejected, dropped",
    ["result"],
    registry=REGISTRY,
)
STORE_SPOOLED = Gauge("setu_store_spooled_events", "Events that wait for the database", registry=REGISTRY)
STORE_COMMIT = Histogram("setu_store_commit_seconds", "Time of one commit", buckets=WAIT_BUCKETS_S, registry=REGISTRY)

_LABEL = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}")
_MAX_VALUES = 64
_seen: dict[str, set[str]] = {}


def label(name: str, value: str) -> str:
    """`value` if it can be one of the few values of the label called `name`, else `other`.

    A label keeps its first 64 values that look like a code word, so no input can make the number of series grow.
    """
    if not value:
        return "none"
    values = _seen.setdefault(name, set())
    if value in values:
        return value
    if len(values) >= _MAX_VALUES or not _LABEL.fullmatch(value):
        return "other"
    values.add(value)
    return value


def render() -> tuple[bytes, str]:
    """Body and content type of an answer to `GET /metrics`."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
