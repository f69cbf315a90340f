from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from said import noise, said, silence

from appliance.speech.vad import WINDOW, VoiceActivity, VoiceActivityError, model_path

SENTENCES = (
    ("मेरा printer काम नहीं कर रहा है", "hi"),
    ("என் கணினி வேலை செய்யவில்லை", "ta"),
    ("నా ఫోన్ పని చేయడం లేదు", "te"),
)


def windows(pcm: np.ndarray) -> np.ndarray:
    return pcm[: len(pcm) // WINDOW * WINDOW].reshape(-1, WINDOW)


def one_by_one(pcm: np.ndarray) -> np.ndarray:
    """The published graph as published: one stream, window after window."""
    session = onnxruntime.InferenceSession(model_path())
    hidden = cell = np.zeros((1, 1, 128), np.float32)
    context, result = np.zeros(64, np.float32), []
    for window in windows(pcm).astype(np.float32) / 32768:
        feed = {"input": np.concatenate((context, window))[None], "h": hidden, "c": cell}
        probability, hidden, cell = session.run(None, feed)
        context = window[-64:]
        result.append(float(probability[0]))
    return np.array(result)


def test_streams_in_one_run_are_what_each_would_be_alone() -> None:
    pcm = [np.concatenate((noise(0.3, 60, seed), said(*sentence), noise(0.5, 60, seed))) for seed, sentence in enumerate(SENTENCES)]
    length = min(map(len, pcm))
    vad = VoiceActivity()
    streams = [vad.open() for _ in pcm]
    steps = zip(*(windows(item[:length]) for item in pcm), strict=True)
    together = np.array([vad.run(streams, step) for step in steps]).T
    for batched, item in zip(together, pcm, strict=True):
        np.testing.assert_allclose(batched, one_by_one(item[:length]), atol=1e-4)
        assert batched.max() > 0.9


def test_a_stream_may_skip_runs_while_others_go_on() -> None:
    first, second = said(*SENTENCES[0]), said(*SENTENCES[1])
    vad = VoiceActivity()
    one, two = vad.open(), vad.open()
    got: dict[int, list[float]] = {one: [], two: []}
    left, right = list(windows(first)), list(windows(second))
    turn = 0
    while left or right:
        streams = [stream for stream, todo in ((one, left), (two, right)) if todo and (turn % 2 or stream == one)]
        if streams:
            values = vad.run(streams, [(left if stream == one else right).pop(0) for stream in streams])
            for stream, value in zip(streams, values, strict=True):
                got[stream].append(float(value))
        turn += 1
    np.testing.assert_allclose(got[one], one_by_one(first), atol=1e-4)
    np.testing.assert_allclose(got[two], one_by_one(second), atol=1e-4)


def test_a_closed_stream_is_given_out_fresh() -> None:
    vad = VoiceActivity()
    speech = list(windows(said(*SENTENCES[0])))
    stream = vad.open()
    first = [float(vad.run([stream], [window])[0]) for window in speech]
    vad.close(stream)
    again = vad.open()
    assert again == stream
    assert [float(vad.run([again], [window])[0]) for window in speech] == first


def test_leaving_quiet_windows_out_loses_no_speech() -> None:
    """Speech 30 dB below a normal call between stretches of digital silence: the same decisions as the graph alone makes."""
    quiet = (said(*SENTENCES[0]).astype(np.float32) * 0.03).astype(np.int16)
    pcm = np.concatenate((silence(2.0), quiet, silence(1.0), quiet))
    vad = VoiceActivity()
    stream = vad.open()
    got = np.array([vad.run([stream], [window])[0] for window in windows(pcm)])
    alone = one_by_one(pcm)
    missed = (alone >= 0.5) & (got < 0.5)
    assert (alone >= 0.5).sum() > 20
    assert missed.sum() <= 2


def test_more_legs_than_ever_before() -> None:
    vad = VoiceActivity()
    streams = [vad.open() for _ in range(50)]
    assert len(set(streams)) == 50
    pcm = [noise(0.032, 50, seed) for seed in streams]
    assert vad.run(streams, pcm).shape == (50,)
    assert vad.run(streams[:1], pcm[:1]).max() < 0.5


def test_another_model_is_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "other.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], [])), path)
    with pytest.raises(VoiceActivityError, match="silero_vad_v6"):
        VoiceActivity(path)
