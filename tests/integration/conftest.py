"""What several of these tests need: a Redis of their own, a certificate."""

import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from own_redis import RedisServer

from appliance.store import event_stream, redis_link
from appliance.store.redis_link import RedisLink

LOOPBACK = ("127.0.0.1", "127.0.0.6")
"""A stack listens on the first, a provider of telephone lines on the second."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
async def link(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisLink]:
    for module in (redis_link, event_stream):
        monkeypatch.setattr(module, "REST_S", 0.1)
    server.stop()
    server.start()
    link = RedisLink(server.url)
    yield link
    await link.aclose()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """For loopback addresses, and its key, outside any stack's folder: nobody but itself vouches for it."""
    if shutil.which("openssl") is None:
        pytest.skip("the certificate is made with openssl")
    folder = tmp_path / "tls"
    folder.mkdir()
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    names = ",".join(f"IP:{address}" for address in LOOPBACK)
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=setu",
    ]
    command += ["-addext", f"subjectAltName={names}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key
