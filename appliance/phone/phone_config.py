"""The configuration of one telephone: whose it is, and the files its process starts from."""

from __future__ import annotations

import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from appliance.phone import wav
from appliance.phone.errors import PhoneError
from appliance.phone.program import PhoneProgram

LONGEST_CALL_S = 600.0
"""Length of the silence a telephone sends; it hangs up when that has ended."""

_CONFIG = """\
poll_method epoll
sip_listen {address}:{sip_port}
net_interface {address}
call_local_timeout 120
call_max_calls 1
audio_source aufile,{folder}/silence.wav
audio_player aufile,/dev/null
audio_alert aufile,/dev/null
ausrc_srate {rate}
auplay_srate {rate}
ausrc_channels 1
auplay_channels 1
audio_buffer 20-160
jitter_buffer_type off
rtp_ports 21000-31998
rtp_timeout 0
ringback_disabled yes
statmode_default off
mixausrc_wish_size 4
mixausrc_fade_packets 1
snd_path {folder}
ctrl_tcp_listen 127.0.0.1:{control_port}
module_path {modules}
module g711.so
{codec_modules}{secure}module mixausrc.so
module sndfile.so
module aufile.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
"""
_CODEC_MODULES = {"G722": "g722.so", "opus": "opus.so"}
"""Beyond G.711."""
# Filters run in the order of the modules: speech is mixed in before it is recorded as sent. No jitter buffer: what is
# received is recorded when it arrives, and the recording's own clock is `recording`'s business.
_TLS = "sip_cafile {folder}/authority.pem\nsip_verify_server yes\n"
_SRTP = "module srtp.so\n"


@dataclass(frozen=True, slots=True)
class PhoneAccount:
    user: str
    """User part of its address: a number for a caller, a name for an agent."""
    address: str
    """IP address it binds to."""
    server: str
    """`host:port` of the SIP server."""
    password: str = ""
    registers: bool = False
    answer_after_s: float | None = None
    """Rings so long, then answers; None leaves incoming calls ringing."""
    codec: str = "PCMA"
    """`PCMA`, `PCMU` or a list of them. With `G722/16000/1` and `opus/48000/2` it can hear and be heard, but
    nothing can be said, and recordings have the codec's rate: they are for tests of the line alone."""
    authority: Path | None = None
    """Certificate (PEM) that vouches for the server's, whatever name that is for: SIP goes over TLS then, and to nobody else. None: UDP.
    Over TLS it comes from the address the system chooses, not from `address`."""
    srtp: bool = False
    """Whether it offers encrypted audio (keys in SDP) and no other, and takes no call that is offered without."""

    @property
    def rate(self) -> int:
        """Of its microphone, Hz."""
        return 16_000 if self.codec.startswith("G722") else wav.TELEPHONE_HZ


def write_configuration(folder: Path, program: PhoneProgram, account: PhoneAccount, sip_port: int, control_port: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    place = folder.resolve()
    if account.authority:
        shutil.copyfile(account.authority, folder / "authority.pem")  # where the program may see nothing else
    config = _CONFIG.format(
        address=account.address,
        sip_port=sip_port,
        control_port=control_port,
        modules=program.modules,
        folder=place,
        rate=account.rate,
        codec_modules="".join(f"module {module}\n" for codec, module in _CODEC_MODULES.items() if codec in account.codec),
        secure=(_TLS.format(folder=place) if account.authority else "") + (_SRTP if account.srtp else ""),
    )
    (folder / "config").write_text(config)
    (folder / "accounts").write_text("")
    (folder / "contacts").write_text("")
    wav.write_silence(folder / "silence.wav", LONGEST_CALL_S, account.rate)


def user_agent(account: PhoneAccount) -> str:
    """As `uanew` takes it."""
    parameters = [f"audio_codecs={account.codec}", f"regint={600 if account.registers else 0}", "ptime=20"]
    if account.password:
        parameters.append(f"auth_pass={account.password}")
    if account.answer_after_s is not None:
        parameters += ["answermode=auto", f"answerdelay={round(1000 * account.answer_after_s)}"]
    if account.srtp:
        parameters.append("mediaenc=srtp-mand")
    transport = ";transport=tls" if account.authority else ""  # of its calls as well
    return f"<sip:{account.user}@{account.server}{transport}>;{';'.join(parameters)}"


def free_port(address: str) -> int:
    """A port that is free for UDP and TCP at the moment."""
    for _ in range(50):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
            try:
                stream.bind((address, 0))
                datagram.bind((address, stream.getsockname()[1]))
            except OSError:
                continue
            return int(stream.getsockname()[1])
    raise PhoneError(f"no free port at {address}")
