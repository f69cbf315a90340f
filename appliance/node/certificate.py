"""Whether a certificate and its key belong together, are valid, and for how long: shown by a TLS handshake in memory."""

from __future__ import annotations

import ssl
from pathlib import Path

from appliance.node.errors import NodeError

_ROUNDS = 10
"""A handshake takes two or three."""


def valid_until(certificate: Path, key: Path) -> float:
    """When it expires, seconds since the epoch.

    Raises:
        NodeError: unreadable, not a pair, not yet or no longer valid.
    """
    try:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certificate, key)
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False  # telephones ask for the name they dial; here only the dates and the pair matter
        client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate itself is trusted, whoever signed it
        client.load_verify_locations(certificate)
        found = _handshake(server, client)
    except ssl.SSLCertVerificationError as error:
        raise NodeError(f"{certificate}: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise NodeError(f"{certificate} and {key}: {error.reason or error}") from error
    except OSError as error:
        raise NodeError(f"{error.filename or certificate}: {error.strerror or error}") from error
    return ssl.cert_time_to_seconds(str(found["notAfter"]))


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, object]:
    """The server's certificate, as the client sees it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    listens = server.wrap_bio(to_server, to_client, server_side=True)
    calls = client.wrap_bio(to_client, to_server)
    for _ in range(_ROUNDS):
        done = 0
        for side in (calls, listens):
            try:
                side.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                continue
        if done == 2:
            break
    return dict(calls.getpeercert() or {})
