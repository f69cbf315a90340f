"""`python -m lab.guess FROM SERVER USER TRIES`: registers with a wrong password again and again; prints each answer's code, or silence."""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
import sys
import time

PORT = 5060
WAIT_S = 2.0
PAUSE_S = 0.6
"""Time for a log to be read."""
TRIES = 20
"""The most this program ever makes."""


def register(local: str, server: str, user: str, number: int, authorization: str = "") -> bytes:
    lines = [
        f"REGISTER sip:{server} SIP/2.0",
        f"Via: SIP/2.0/UDP {local}:{PORT};branch=z9hG4bK{secrets.token_hex(6)};rport",
        f"From: <sip:{user}@{server}>;tag={secrets.token_hex(4)}",
        f"To: <sip:{user}@{server}>",
        f"Call-ID: {secrets.token_hex(8)}@{local}",
        f"CSeq: {number} REGISTER",
        f"Contact: <sip:{user}@{local}:{PORT}>",
        "Max-Forwards: 70",
        *([f"Authorization: {authorization}"] if authorization else []),
        "Content-Length: 0",
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


def digest(challenge: str, user: str, server: str, password: str) -> str:
    """The answer to a challenge (RFC 2617, MD5, with or without qop)."""
    fields = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge))
    uri = f"sip:{server}"
    secret = _md5(f"{user}:{fields['realm']}:{password}")
    request = _md5(f"REGISTER:{uri}")
    common = f'username="{user}", realm="{fields["realm"]}", nonce="{fields["nonce"]}", uri="{uri}", algorithm=MD5'
    if "qop" not in fields:
        response = _md5(f"{secret}:{fields['nonce']}:{request}")
        return f'Digest {common}, response="{response}"'
    own = secrets.token_hex(4)
    response = _md5(f"{secret}:{fields['nonce']}:00000001:{own}:auth:{request}")
    more = f', opaque="{fields["opaque"]}"' if "opaque" in fields else ""
    return f'Digest {common}, qop=auth, nc=00000001, cnonce="{own}", response="{response}"{more}'


def try_once(probe: socket.socket, local: str, server: str, user: str, number: int) -> str:
    try:
        probe.sendto(register(local, server, user, 2 * number), (server, PORT))
        asked = probe.recv(4096).decode()
        challenge = re.search(r"^WWW-Authenticate: Digest (.*?)\r$", asked, re.MULTILINE)
        if challenge is None:
            return asked.split()[1]
        answer = digest(challenge[1], user, server, f"guess{number}")
        probe.sendto(register(local, server, user, 2 * number + 1, answer), (server, PORT))
        return probe.recv(4096).decode().split()[1]
    except TimeoutError:
        return "silence"


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def main(local: str, server: str, user: str, tries: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((local, PORT))
        probe.settimeout(WAIT_S)
        for number in range(min(tries, TRIES)):
            print(try_once(probe, local, server, user, number), flush=True)
            time.sleep(PAUSE_S)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
