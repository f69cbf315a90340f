"""A model server as a process: when it refuses to start, when it is ready, what it answers, how it ends. Stub engines."""

from __future__ import annotations

import os
import signal
import socket
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from model_servers import ModelServerProcess, model_server, write_config

SECOND = np.zeros(16_000, "<i2").tobytes()
STUBS = """
[stt]
engine = "stub"
model = "delay_s=0.05,text=ஆம்"
batch_wait_s = 0.05
[mt]
engine = "stub"
model = "delay_s=1.0,fail=boom"
max_queue = 2
[tts]
engine = "stub"
model = "speech_s=0.5"
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("ms"), STUBS)


@pytest.fixture(scope="module")
def stt(config: Path) -> Iterator[ModelServerProcess]:
    with model_server("stt", config) as server:
        yield server


@pytest.fixture(scope="module")
def mt(config: Path) -> Iterator[ModelServerProcess]:
    with model_server("mt", config) as server:
        yield server


def metric(server: ModelServerProcess, name: str) -> float:
    with server.http() as client:
        lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_health_tells_engine_model_and_languages(stt: ModelServerProcess) -> None:
    with stt.http() as client:
        health = client.get("/health").json()
    assert health == {
        "status": "ready",
        "kind": "stt",
        "engine": "stub",
        "languages": ["ta", "te", "kn", "mr", "hi"],
        "detail": "",
        "model": "delay_s=0.05,text=ஆம்",
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
    before = metric(stt, "setu_batch_size_sum"), metric(stt, "setu_batch_size_count")

    together = threading.Barrier(5)

    def ask(language: str) -> dict[str, object]:
        with stt.http() as client:
            client.get("/health")  # is connected
            together.wait(10)
            answer: dict[str, object] = client.post(f"/v1/transcribe?language={language}", content=SECOND).json()
            return answer

    with ThreadPoolExecutor(5) as pool:
        found = list(pool.map(ask, ("ta", "te", "kn", "mr", "hi")))
    assert [item["language"] for item in found] == ["ta", "te", "kn", "mr", "hi"]
    assert max(item["batch_size"] for item in found) >= 2  # type: ignore[type-var]
    after = metric(stt, "setu_batch_size_sum"), metric(stt, "setu_batch_size_count")
    assert after[0] - before[0] == 5
    assert after[1] - before[1] < 5
    assert metric(stt, "setu_batch_wait_seconds_count") >= 5
    assert metric(stt, 'setu_engine_ready{engine="stub",kind="stt"}') == 1


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


def test_what_cannot_be_computed_in_time_is_not_computed(mt: ModelServerProcess) -> None:
    with mt.http() as client, ThreadPoolExecutor(1) as pool:
        busy = pool.submit(client.post, "/v1/translate", json={"text": "a", "source": "ta", "target": "hinglish"})
        time.sleep(0.3)
        with mt.http() as other:
            body = {"text": "b", "source": "ta", "target": "hinglish"}
            late = other.post("/v1/translate", json=body, headers={"X-Timeout-S": "0.05"})
            wrong = other.post("/v1/translate", json=body, headers={"X-Timeout-S": "-1"})
        assert (late.status_code, late.json()["retry"]) == (429, True)
        assert wrong.status_code == 400
        assert busy.result().status_code == 200


def test_a_full_queue_answers_429_at_once(mt: ModelServerProcess) -> None:
    def ask(number: int) -> tuple[int, float]:
        start = time.monotonic()
        with mt.http() as client:
            status = client.post("/v1/translate", json={"text": str(number), "source": "ta", "target": "hinglish"}).status_code
        return status, time.monotonic() - start

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(ask, 0)
        time.sleep(0.3)
        answers = list(pool.map(ask, range(1, 7)))
    assert first.result()[0] == 200
    assert sorted(status for status, _ in answers) == [200, 200, 429, 429, 429, 429]
    assert max(seconds for status, seconds in answers if status == 429) < 0.7, "what is computed takes a second"
    assert metric(mt, 'setu_engine_requests_total{kind="mt",result="overloaded"}') >= 4


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
    config = write_config(tmp_path, '[tts]\nengine = "stub"\nmodel = "delay_s=0.3"\n')
    with model_server("tts", config, ready=False) as server:
        while not server.listens():
            time.sleep(0.01)
        statuses = []
        with server.http() as client:
            statuses.append(client.get("/health").status_code)
            early = client.post("/v1/speak", json={"text": "a", "language": "ta"})
            end = time.monotonic() + 30
            while time.monotonic() < end and statuses[-1] != 200:
                time.sleep(0.05)
                statuses.append(client.get("/health").status_code)
        assert statuses[0] == 503
        assert statuses[-1] == 200
        assert (early.status_code, early.json()) == (503, {"error": "the server is warming up", "retry": True})


def test_the_socket_is_for_the_group_and_goes_with_the_server(tmp_path: Path) -> None:
    config = write_config(tmp_path, STUBS)
    with model_server("tts", config) as server:
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o660
        with server.http() as client:
            answer = client.post("/v1/speak", json={"text": "ஆம்", "language": "ta"})
        assert (len(answer.content), answer.headers["X-Sample-Rate"], answer.headers["X-Engine"]) == (16_000, "16000", "stub")
        assert server.stop() == 0
        assert not server.socket.exists()
        assert "Traceback" not in server.log


def test_a_request_under_way_is_answered_before_the_server_ends(tmp_path: Path) -> None:
    config = write_config(tmp_path, '[mt]\nengine = "stub"\nmodel = "delay_s=2.0"\n')
    with model_server("mt", config) as server, server.http() as client, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.post, "/v1/translate", json={"text": "a", "source": "ta", "target": "hinglish"})
        time.sleep(1.0)
        server.process.send_signal(signal.SIGTERM)
        assert asked.result().status_code == 200
        assert server.wait_end() == 0


def test_a_socket_left_by_a_dead_server_is_taken_over_and_a_live_one_is_not(tmp_path: Path) -> None:
    config = write_config(tmp_path, STUBS)
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
    config = write_config(tmp_path, STUBS)
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
            connection.settimeout(5)
            connection.connect(str(stt.socket))
            connection.sendall(data)
            connection.recv(4096)
    with stt.http() as client:
        assert client.post("/v1/transcribe?language=ta", content=SECOND).status_code == 200
