"""Every key of `appliance.toml`: its type, its unit, its default.

Values are checked when the file is read (`appliance.config.load`); code that holds a `Config` holds a valid one.
Paths may be relative to the folder of the file.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

Port = Annotated[int, Meta(ge=1, le=65_535)]
Seconds = Annotated[float, Meta(gt=0, le=600)]
CallerLanguage = Literal["ta", "te", "kn", "mr", "hi"]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Node(_Section, frozen=True):
    name: str = "node1"
    """Name of this node in logs, metrics and the cluster."""
    state_dir: str = "state"
    """Database, spool, secrets, audio of utterances that agents flagged."""
    run_dir: str = "run"
    """Unix sockets and pid files; its path must stay short (108 bytes with the socket's name)."""


class TrunkAddress(_Section, frozen=True):
    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
    address: str
    """IP address or network (`10.1.2.0/28`) whose SIP requests belong to this trunk."""
    server: str = ""
    """Where this node registers, `host` or `host:port`; empty where the provider sends calls without that."""
    username: str = ""
    """Account of the registration."""
    password: str = ""
    """Its password, or `file:NAME`."""
    transport: Literal["udp", "tcp", "tls"] = "udp"
    """By which the registration is sent. `tls` needs `tls_port`, and a certificate of the provider that this machine trusts."""
    realm: str = ""
    """The only realm the password is used for; empty: whichever the provider names."""
    from_user: str = ""
    """Name in the address that is registered, where it is not `username`."""
    outbound_proxy: str = ""
    """Where the registration is sent instead of to `server`, `host` or `host:port`."""
    srtp: Literal["offered", "required"] = "offered"
    """With `tls_port`: `required` refuses calls whose audio is not encrypted."""


class AgentAccount(_Section, frozen=True):
    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
    """SIP user name."""
    password: str
    """SIP password, or `file:NAME` for a systemd credential or a file in `state_dir`."""
    contact: Annotated[str, Meta(pattern=r"^(sips?:[A-Za-z0-9._-]+@[A-Za-z0-9.:\[\]-]+)?$")] = ""
    """Address of a telephone that is always there (`sip:desk@10.1.2.3:5060`); empty: it registers."""
    srtp: Literal["offered", "required"] = "offered"
    """With `tls_port`: `required` is for a telephone that takes encrypted audio only; no call goes to it otherwise."""


class Telephony(_Section, frozen=True):
    bind: str = "0.0.0.0"  # noqa: S104 - a telephone exchange answers the network
    """Address of the SIP sockets."""
    sip_port: Port = 5060
    tls_port: int = 0
    """SIP over TLS; 0 is off. Needs `tls_certificate` and `tls_key`."""
    tls_certificate: str = ""
    tls_key: str = ""
    rtp_first_port: Port = 10_000
    rtp_last_port: Port = 20_000
    jitter_buffer_ms: Annotated[int, Meta(ge=0, le=1000)] = 500
    """The most that packets of a telephone are held back to bring them in order; on an even line it is a small part of it. 0 is off."""
    http_port: Port = 8088
    """Asterisk's own HTTP server, loopback only."""
    company_number: Annotated[str, Meta(pattern=r"^\+?[0-9]{2,15}$")] = "1800"
    trunks: list[TrunkAddress] = field(default_factory=list)
    agents: list[AgentAccount] = field(default_factory=list)
    ring_s: Seconds = 60.0
    """How long the queue looks for an agent before the caller is told that nobody is free."""


class Gateway(_Section, frozen=True):
    host: str = "127.0.0.1"
    port: Port = 8080
    """Worker N listens on `port` + N - 1."""
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    max_calls: Annotated[int, Meta(ge=1, le=10_000)] = 200
    """Calls a worker takes at the same time."""
    when_full: Literal["reject", "queue"] = "queue"
    """What happens to a call beyond what all workers take: `reject` answers 503, so that the trunk's provider can try another way;
    `queue` connects it to the agents after an announcement, without interpreter."""
    control: Literal["worker-dials", "asterisk-dials"] = "worker-dials"
    """Who opens a worker's control connection. Asterisk up to 22.10 may die when a worker dies whose connection Asterisk has opened."""
    ari_user: str = "setu"
    ari_password: str = "file:ari-password"  # noqa: S105 - names where the secret is
    """Shared by Asterisk and the gateway; made at the first start when the file is missing."""


class Models(_Section, frozen=True):
    folder: str = "models"
    """Where the model folders named below are."""


class SttServer(_Section, frozen=True):
    engine: Literal["whisper-short", "faster-whisper", "stub"] = "whisper-short"
    """`whisper-short`: CTranslate2 on the audio's own length; `faster-whisper`: 30 s windows, for checkpoints trained so."""
    model: str = "starter/stt"
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    compute_type: str = "int8"
    threads: Annotated[int, Meta(ge=0, le=256)] = 1
    """0: as many as there are cores."""
    beam_size: Annotated[int, Meta(ge=1, le=20)] = 8
    """Hypotheses of a finished utterance; partial decodes are greedy."""
    max_batch: Annotated[int, Meta(ge=1, le=256)] = 16
    batch_wait_s: Annotated[float, Meta(ge=0, le=1)] = 0.004
    """How long the first request of a batch waits for others."""
    max_queue: Annotated[int, Meta(ge=1)] = 256
    instances: Annotated[int, Meta(ge=1, le=16)] = 1
    """Processes that share the requests. One: its socket is `stt.sock`; several: `stt-1.sock` and so on."""
    fallback: bool = False
    """Whether one more process stands by with the starter engine on the CPU, asked only while none of the others answers."""


class MtServer(_Section, frozen=True):
    engine: Literal["ctranslate2", "stub"] = "ctranslate2"
    model: str = "starter/mt"
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    compute_type: str = "int8"
    threads: Annotated[int, Meta(ge=0, le=256)] = 1
    beam_size: Annotated[int, Meta(ge=1, le=10)] = 1
    max_batch: Annotated[int, Meta(ge=1, le=256)] = 32
    batch_wait_s: Annotated[float, Meta(ge=0, le=1)] = 0.003
    max_queue: Annotated[int, Meta(ge=1)] = 256
    instances: Annotated[int, Meta(ge=1, le=16)] = 1
    """Processes that share the requests. One: its socket is `mt.sock`; several: `mt-1.sock` and so on."""
    fallback: bool = False
    """Whether one more process stands by with the starter engine on the CPU, asked only while none of the others answers."""


class TtsServer(_Section, frozen=True):
    engine: Literal["espeak-ng", "vits-onnx", "stub"] = "espeak-ng"
    model: str = ""
    """Folder of the voice; espeak-ng needs none."""
    voices: dict[str, str] = field(default_factory=dict)
    """Voice by language code; the engine's own default otherwise."""
    rate_wpm: Annotated[int, Meta(ge=80, le=400)] = 165
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    threads: Annotated[int, Meta(ge=0, le=256)] = 1
    max_batch: Annotated[int, Meta(ge=1, le=256)] = 8
    batch_wait_s: Annotated[float, Meta(ge=0, le=1)] = 0.0
    max_queue: Annotated[int, Meta(ge=1)] = 256
    instances: Annotated[int, Meta(ge=1, le=16)] = 1
    """Processes that share the requests. One: its socket is `tts.sock`; several: `tts-1.sock` and so on."""
    fallback: bool = False
    """Whether one more process stands by with the starter engine on the CPU, asked only while none of the others answers."""


class Listen(_Section, frozen=True):
    speech_probability: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    """Voice activity above this is speech."""
    endpoint_min_s: Seconds = 0.35
    """Shortest pause that ends an utterance."""
    endpoint_max_s: Seconds = 0.7
    """Pause that always ends it."""
    min_speech_s: Seconds = 0.2
    """Shorter sounds are no utterance."""
    max_utterance_s: Seconds = 20.0
    """A longer utterance is cut at its quietest place."""
    preroll_s: Seconds = 0.2


class Recognise(_Section, frozen=True):
    partial_every_s: Seconds = 0.4
    min_confidence: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Below it the speaker is asked to say it again. Unset: the threshold in the recogniser's own `refusal.json`, else 0.35."""
    timeout_s: Seconds = 4.0


class Translate(_Section, frozen=True):
    timeout_s: Seconds = 3.0
    min_confidence: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Of the translation alone, likewise. Unset: none where the recogniser's `refusal.json` weighs the translation too, else 0.3."""
    policy: Literal["interpret", "direct"] = "interpret"
    """`direct`: a caller who speaks Hindi is bridged to the agent without interpretation."""


class Speak(_Section, frozen=True):
    timeout_s: Seconds = 3.0


class Play(_Section, frozen=True):
    original_voice: bool = True
    """Whether the speaker's own voice is heard quietly underneath."""
    original_voice_db: Annotated[float, Meta(ge=-60, le=0)] = -20.0
    quiet_numbers: list[Annotated[str, Meta(pattern=r"^\+?[0-9]{2,15}$")]] = field(default_factory=list)
    """Further company numbers, answered as `telephony.company_number` is, but without the original voice underneath."""


class Identify(_Section, frozen=True):
    default: CallerLanguage = "hi"
    """Taken when nothing else decides; also the language of the greeting to an unknown caller."""
    decide_s: Seconds = 8.0
    """Speech of the caller after which the keypad menu is spoken when the votes have not decided."""
    remember: bool = True
    """Whether a caller's language is kept in Redis under a keyed hash of the number."""
    hash_key: str = "file:caller-hash-key"


class Redis(_Section, frozen=True):
    url: str = "redis://127.0.0.1:6379/0"


class Store(_Section, frozen=True):
    database: str = "sqlite:///state/setu.sqlite"
    """SQLAlchemy URL; relative SQLite paths are relative to this file."""
    keep_days: Annotated[int, Meta(ge=0, le=36_500)] = 90
    """Days after which a call and everything that was said in it is deleted by `appliance expire`; 0 keeps it for ever."""
    keep_audio_days: Annotated[int, Meta(ge=0, le=36_500)] = 30
    """The same for audio of utterances that agents flagged; 0 keeps it as long as its call."""


class Telemetry(_Section, frozen=True):
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Config(_Section, frozen=True):
    node: Node = field(default_factory=Node)
    telephony: Telephony = field(default_factory=Telephony)
    gateway: Gateway = field(default_factory=Gateway)
    models: Models = field(default_factory=Models)
    stt: SttServer = field(default_factory=SttServer)
    mt: MtServer = field(default_factory=MtServer)
    tts: TtsServer = field(default_factory=TtsServer)
    listen: Listen = field(default_factory=Listen)
    recognise: Recognise = field(default_factory=Recognise)
    identify: Identify = field(default_factory=Identify)
    translate: Translate = field(default_factory=Translate)
    speak: Speak = field(default_factory=Speak)
    play: Play = field(default_factory=Play)
    redis: Redis = field(default_factory=Redis)
    store: Store = field(default_factory=Store)
    telemetry: Telemetry = field(default_factory=Telemetry)
