"""A model server as a process: when it refuses to start, when it is ready, what it answers, how it ends. Stub engines."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import httpx
import numpy as np
import pytest
from model_servers import Gate, ModelServerProcess, model_server, write_config

from appliance.web.entrance import HEAD_S

SECOND = np.zeros(16_000, "<i2").tobytes()
STUBS = """
[stt]
engine = "stub"
model = "delay_s=0.05,text=ஆம்,gate={folder}/stt-gate"
batch_wait_s = 0.05
[mt]
engine = "stub"
model = "fail=boom,gate={folder}/mt-gate"
max_queue = 2
[tts]
engine = "stub"
model = "speech_s=0.5"
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stubs(tmp_path_factory.mktemp("ms"))


def stubs(folder: Path) -> Path:
    return write_config(folder, STUBS.format(folder=folder))


def gate(server: ModelServerProcess) -> Gate:
    return Gate(server.socket.parents[1] / f"{server.kind}-gate")


@pytest.fixture(scope="module")
def stt(config: Path) -> Iterator[ModelServerProcess]:
    with model_server("stt", config) as server:
        yield server


@pytest.fixture(scope="module")
def mt(config: Path) -> Iterator[ModelServerProcess]:
    with model_server("mt", config) as server:
        yield server


def test_health_tells_engine_model_and_languages(stt: ModelServerProcess) -> None:
    with stt.http() as client:
        health = client.get("/health").json()
    assert health == {
        "status": "ready",
        "kind": "stt",
        "engine": "stub",
        "languages": ["ta", "te", "kn", "mr", "hi"],
        "detail": "",
        "model": f"delay_s=0.05,text=ஆம்,gate={stt.socket.parents[1]}/stt-gate",
    }


def test_a_transcript_has_every_field(stt: ModelServerProcess) -> None:
    with stt.http() as client:
        answer = client.post("/v1/transcribe?languages=ta,te", content=SECOND)
    found = answer.json()
    assert (answer.status_code, found["text"], found["language"], found["language_scores"]) == (200, "ஆம்", "ta", {"ta": 1.0, "te": 0.0})
    assert (found["duration_s"], found["engine"], found["batch_size"]) == (1.0, "stub", 1)
    assert 0.045 < found["queue_s"] < 5
    assert 0.05 < found["compute_s"] < 5


def test_text_is_identified(stt: ModelServerProcess) -> None:
    with stt.http() as client:
        found = client.post("/v1/identify", json={"text": "माझ्या लॅपटॉप मध्ये समस्या आहे"}).json()
    assert max(found["scores"], key=found["scores"].get) == "mr"
    assert found["engine"] == "fasttext+script"


def test_requests_of_several_callers_share_a_batch_and_the_metrics_say_so(stt: ModelServerProcess) -> None:
    before = stt.metric("setu_batch_size_sum"), stt.metric("setu_batch_size_count")

    def ask(language: str) -> dict[str, object]:
        with stt.http() as client:
            answer: dict[str, object] = client.post(f"/v1/transcribe?language={language}", content=SECOND).json()
            return answer

    languages = ("ta", "te", "kn", "mr", "hi")
    with ThreadPoolExecutor(6) as pool, gate(stt) as held:
        first = pool.submit(ask, "ta")
        held.reached()
        others = [pool.submit(ask, language) for language in languages]
        stt.wait_queued(len(languages))
        held.open()
        assert first.result()["batch_size"] == 1
        found = [other.result() for other in others]
    assert [item["language"] for item in found] == list(languages)
    assert {item["batch_size"] for item in found} == {5}
    after = stt.metric("setu_batch_size_sum"), stt.metric("setu_batch_size_count")
    assert after[0] - before[0] == 6
    assert after[1] - before[1] == 2
    assert stt.metric("setu_batch_wait_seconds_count") >= 6
    assert stt.metric('setu_engine_ready{engine="stub",kind="stt"}') == 1


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/v1/transcribe", b"", "0 bytes; allowed: s16le mono at 16000 Hz"),
        ("/v1/transcribe", b"abc", "3 bytes; allowed: s16le mono"),
        ("/v1/transcribe?language=en", SECOND, "no language 'en', allowed: ta, te, kn, mr, hi"),
        ("/v1/transcribe?languages=ta,zz", SECOND, "no language 'zz'"),
        ("/v1/transcribe?partial=perhaps", SECOND, "partial"),
        ("/v1/transcribe", SECOND * 31, "31.0 s of audio, stub takes at most 30 s"),
        ("/v1/transcribe", SECOND * 70, "Too Large"),
        ("/v1/identify", b'{"text": 5}', "Expected `str`, got `int` - at `$.text`"),
        ("/v1/identify", b'{"text": "a", "more": 1}', "unknown field `more`"),
        ("/v1/identify", b"\xff\xfe", "malformed"),
        ("/v1/translate", b"{}", "Not Found"),
    ],
)
def test_a_wrong_request_is_told_what_is_allowed(stt: ModelServerProcess, path: str, body: bytes, said: str) -> None:
    with stt.http() as client:
        answer = client.post(path, content=body)
    problem = answer.json()
    assert 400 <= answer.status_code < 500
    assert said in problem["error"]
    assert problem["retry"] is False


TOO_SHORT_S = 0.05
OVERLOADED = 'setu_engine_requests_total{kind="mt",result="overloaded"}'
A_WORD = {"text": "a", "source": "ta", "target": "hinglish"}


def test_what_cannot_be_computed_in_time_is_not_computed(mt: ModelServerProcess) -> None:
    def ask(timeout_s: float) -> httpx.Response:
        with mt.http() as client:
            return client.post("/v1/translate", json=A_WORD, headers={"X-Timeout-S": str(timeout_s)})

    computed = mt.metric("setu_batch_size_sum")
    with ThreadPoolExecutor(2) as pool, gate(mt) as held:
        busy = pool.submit(ask, 60)
        held.reached()
        late = pool.submit(ask, TOO_SHORT_S)
        mt.wait_queued(1)
        time.sleep(TOO_SHORT_S)
        held.open()
        assert (late.result().status_code, late.result().json()["retry"]) == (429, True)
        assert busy.result().status_code == 200
    assert mt.metric("setu_batch_size_sum") == computed + 1
    assert ask(-1).status_code == 400


def test_a_full_queue_answers_429_at_once(mt: ModelServerProcess) -> None:
    def ask(_: int) -> int:
        with mt.http() as client:
            return client.post("/v1/translate", json=A_WORD).status_code

    before = mt.metric(OVERLOADED)
    with ThreadPoolExecutor(8) as pool, gate(mt) as held:
        first = pool.submit(ask, 0)
        held.reached()
        others = [pool.submit(ask, number) for number in range(1, 7)]
        refused = [other.result() for _, other in zip(range(4), as_completed(others, timeout=10), strict=False)]
        assert refused == [429] * 4, "while the engine is at the first one still"
        mt.wait_queued(2)
        assert sum(other.done() for other in others) == 4
        held.open()
        assert first.result() == 200
        assert sorted(other.result() for other in others) == [200, 200, 429, 429, 429, 429]
    assert mt.metric(OVERLOADED) == before + 4


def test_an_engine_that_keeps_failing_makes_the_server_unhealthy_until_it_recovers(mt: ModelServerProcess) -> None:
    with mt.http() as client:
        for _ in range(3):
            answer = client.post("/v1/translate", json={"text": "boom", "source": "ta", "target": "hinglish"})
            assert (answer.status_code, answer.json()) == (503, {"error": "the stub was told to fail", "retry": True})
        sick = client.get("/health")
        assert (sick.status_code, sick.json()["status"]) == (503, "failed")
        assert client.post("/v1/translate", json={"text": "fine", "source": "ta", "target": "hinglish"}).status_code == 200
        assert client.get("/health").status_code == 200


def test_not_ready_before_the_warm_up_request_was_answered(tmp_path: Path) -> None:
    config = write_config(tmp_path, f'[tts]\nengine = "stub"\nmodel = "gate={tmp_path}/gate"\n')
    with Gate(tmp_path / "gate") as held, model_server("tts", config, ready=False) as server:
        held.reached()
        while not server.listens():
            time.sleep(0.01)
        statuses = []
        with server.http() as client:
            statuses.append(client.get("/health").status_code)
            early = client.post("/v1/speak", json={"text": "a", "language": "ta"})
            held.open()
            end = time.monotonic() + 30
            while time.monotonic() < end and statuses[-1] != 200:
                time.sleep(0.05)
                statuses.append(client.get("/health").status_code)
        assert statuses[0] == 503
        assert statuses[-1] == 200
        assert (early.status_code, early.json()) == (503, {"error": "the server is warming up", "retry": True})


def test_the_socket_is_for_the_group_and_goes_with_the_server(tmp_path: Path) -> None:
    config = stubs(tmp_path)
    with model_server("tts", config) as server:
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o660
        with server.http() as client:
            answer = client.post("/v1/speak", json={"text": "ஆம்", "language": "ta"})
        assert (len(answer.content), answer.headers["X-Sample-Rate"], answer.headers["X-Engine"]) == (16_000, "16000", "stub")
        assert server.stop() == 0
        assert not server.socket.exists()
        assert "Traceback" not in server.log


def test_a_request_under_way_is_answered_before_the_server_ends(tmp_path: Path) -> None:
    with model_server("mt", stubs(tmp_path)) as server, server.http() as client, ThreadPoolExecutor(1) as pool, gate(server) as held:
        asked = pool.submit(client.post, "/v1/translate", json=A_WORD)
        held.reached()
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(1.0)
        held.open()
        assert asked.result().status_code == 200
        assert server.wait_end() == 0


def test_a_socket_left_by_a_dead_server_is_taken_over_and_a_live_one_is_not(tmp_path: Path) -> None:
    config = stubs(tmp_path)
    with model_server("tts", config) as first:
        with model_server("tts", config, ready=False) as second:
            assert second.wait_end() == 2
            assert f"{first.socket} is taken: another model server listens there" in second.log
        first.process.kill()
        first.process.wait()
        assert first.socket.exists()
    with model_server("tts", config) as third:
        assert third.socket.exists()


def test_a_file_in_the_sockets_place_is_left_alone(tmp_path: Path) -> None:
    config = stubs(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tts.sock").write_text("something of somebody")
    with model_server("tts", config, ready=False) as server:
        assert server.wait_end() == 2
        assert "is no socket and is left alone" in server.log
    assert (tmp_path / "run" / "tts.sock").read_text() == "something of somebody"


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("stt", '[stt]\nengine = "whisper"\n', 'stt.engine: "whisper" is not allowed; allowed: one of "faster-whisper"'),
        ("stt", '[stt]\nmodle = "x"\n', "stt.modle: unknown key (did you mean model?)"),
        ("mt", '[mt]\nmodel = "nosuch"\n', "nosuch does not exist"),
        ("tts", '[tts]\nengine = "stub"\nmodel = "speed=1"\n', "speed=1"),
        ("tts", '[tts]\nvoices = { hi = "hi+nosuch" }\n', "espeak-ng has no voice 'hi+nosuch'"),
    ],
)
def test_a_start_that_cannot_succeed_is_refused_in_one_message(tmp_path: Path, kind: str, text: str, said: str) -> None:
    with model_server(kind, write_config(tmp_path, text), ready=False) as server:
        assert server.wait_end() == 2
        assert said in server.log
        assert "Traceback" not in server.log
        assert not server.socket.exists()


def test_a_corrupted_model_file_refuses_the_start_and_is_named(tmp_path: Path) -> None:
    models = tmp_path / "models"
    (models / "tiny").mkdir(parents=True)
    (models / "tiny" / "model.bin").write_bytes(b"not what was meant")
    entry = """[[model]]
id = "tiny"
stage = "translate"
title = "Tiny"
languages = ["ta"]
licence = "MIT"
commercial = true
source = "here"
revision = "1"
format = "ctranslate2-translator"
memory_mb = 1
[model.files]
"""
    sums = f'"model.bin" = "{"0" * 64}"\n"spm.model" = "{"1" * 64}"\n'
    (models / "catalog.toml").write_text(entry + sums)
    with model_server("mt", write_config(tmp_path, '[mt]\nmodel = "tiny"\n', models), ready=False) as server:
        assert server.wait_end() == 2
        assert f"model tiny: {models / 'tiny' / 'model.bin'} is corrupted" in server.log
        assert f"model tiny: {models / 'tiny' / 'spm.model'} is missing" in server.log


def test_a_warm_up_that_fails_ends_the_server(tmp_path: Path) -> None:
    with model_server("stt", write_config(tmp_path, '[stt]\nengine = "stub"\nmodel = "fail=*"\n'), ready=False) as server:
        assert server.wait_end() == 1
        assert "the warm-up failed" in server.log
        assert not server.socket.exists()


def test_garbage_on_the_socket_disturbs_nobody(stt: ModelServerProcess) -> None:
    for data in (b"\x00" * 1000, b"POST /v1/transcribe HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", os.urandom(4000)):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2 * HEAD_S)
            connection.connect(str(stt.socket))
            connection.sendall(data)
            connection.recv(4096)
    with stt.http() as client:
        assert client.post("/v1/transcribe?language=ta", content=SECOND).status_code == 200
