"""The recognisers around a Whisper: features, windows, batches and languages. The weights are random: nothing is recognised here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_models import random_whisper
from faster_whisper.feature_extractor import FeatureExtractor

from appliance.engines.base import EngineUnavailable, JobRejected, RecogniseJob, Samples, check_recognise
from appliance.engines.faster_whisper import FasterWhisper
from appliance.engines.log_mel import LogMel, mel_filters, stack
from appliance.engines.whisper_short import WhisperShort


def noise(seconds: float, seed: int = 0) -> Samples:
    return (np.random.default_rng(seed).normal(size=int(seconds * 16_000)) * 2000).astype(np.int16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "whisper"
    random_whisper(folder)
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> WhisperShort:
    return WhisperShort(folder, compute_type="float32")


@pytest.mark.parametrize("mels", [80, 128])
def test_mel_filters_are_those_of_faster_whisper(mels: int) -> None:
    np.testing.assert_allclose(mel_filters(mels), FeatureExtractor(feature_size=mels).mel_filters, atol=1e-6)


@pytest.mark.parametrize("samples", [400, 4000, 16_000, 51_277])
def test_features_are_those_of_faster_whisper(samples: int) -> None:
    theirs = FeatureExtractor()
    audio = noise(samples / 16_000)
    expected = theirs(audio.astype(np.float32) / 32768)[:, : samples // 160]
    np.testing.assert_allclose(LogMel(80)(audio), expected, atol=1e-5)


def test_audio_of_any_length_has_features() -> None:
    log_mel = LogMel(80)
    assert [log_mel(noise(samples / 16_000)).shape for samples in (1, 160, 4801)] == [(80, 1), (80, 1), (80, 30)]


def test_stacked_features_end_in_zeros_or_are_cut() -> None:
    one = np.ones((80, 10), np.float32)
    batch = stack([one, one[:, :4]], 8)
    assert batch.shape == (2, 80, 8)
    assert batch.sum(axis=(1, 2)).tolist() == [80 * 8, 80 * 4]
    assert not batch[1, :, 4:].any()


def test_the_language_is_found_among_those_allowed(engine: WhisperShort) -> None:
    everywhere, few = engine.transcribe([RecogniseJob(noise(1.5)), RecogniseJob(noise(1.5), allowed=("ta", "kn"))])
    assert set(everywhere.language_scores) == {"ta", "te", "kn", "mr", "hi"}
    assert set(few.language_scores) == {"ta", "kn"}
    for found in (everywhere, few):
        assert sum(found.language_scores.values()) == pytest.approx(1, abs=1e-5)
        assert found.language == max(found.language_scores, key=found.language_scores.__getitem__)
    share = everywhere.language_scores["ta"] / (everywhere.language_scores["ta"] + everywhere.language_scores["kn"])
    assert few.language_scores["ta"] == pytest.approx(share, abs=1e-5)


def test_a_given_language_is_used_and_not_scored(engine: WhisperShort) -> None:
    (found,) = engine.transcribe([RecogniseJob(noise(1.0), "mr")])
    assert (found.language, found.language_scores) == ("mr", {})
    assert 0 <= found.no_speech_prob <= 1
    assert -8.5 < found.avg_logprob < 0  # a greedy choice among 3,100 tokens is never less likely than 1/3,100


def test_a_job_is_answered_the_same_alone_and_in_a_batch(engine: WhisperShort) -> None:
    jobs = [
        RecogniseJob(noise(1.5, 1), "ta"),
        RecogniseJob(noise(4.0, 2)),
        RecogniseJob(noise(0.02, 3)),
        RecogniseJob(noise(1.5, 4), "hi"),
        RecogniseJob(noise(1.5, 5), "te", partial=True),
    ]
    together = engine.transcribe(jobs)
    alone = [engine.transcribe([job])[0] for job in jobs]
    assert [(item.text, item.language) for item in together] == [(item.text, item.language) for item in alone]
    assert (together[2].text, together[2].no_speech_prob) == ("", 1.0)


def test_long_clips_and_partials_have_batches_of_their_own(engine: WhisperShort, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = []
    decode = engine._decoder.decode

    def watched(features, jobs):  # type: ignore[no-untyped-def]
        windows.append((features.shape[0], features.shape[2], jobs[0].partial))
        return decode(features, jobs)

    monkeypatch.setattr(engine._decoder, "decode", watched)
    lengths = [(1.0, False), (8.0, False), (1.6, False), (1.0, True)]
    engine.transcribe([RecogniseJob(noise(seconds), "hi", partial=partial) for seconds, partial in lengths])
    assert windows == [(2, 200, False), (1, 800, False), (1, 100, True)]


def test_the_same_checkpoint_serves_both_engines(folder: Path, engine: WhisperShort) -> None:
    whole = FasterWhisper(folder, compute_type="float32")
    assert whole.capabilities.languages == engine.capabilities.languages
    results = whole.transcribe([RecogniseJob(noise(1.0), "ta"), RecogniseJob(noise(0.01)), RecogniseJob(noise(2.0))])
    assert [item.language for item in results[:2]] == ["ta", ""]
    assert set(results[2].language_scores) == {"ta", "te", "kn", "mr", "hi"}


def test_what_the_engine_cannot_take_is_rejected_with_what_it_can(engine: WhisperShort) -> None:
    with pytest.raises(JobRejected, match=r"no language 'en', allowed: ta, te, kn, mr, hi"):
        check_recognise(RecogniseJob(noise(1.0), "en"), engine.capabilities)
    with pytest.raises(JobRejected, match=r"no language 'xx'"):
        check_recognise(RecogniseJob(noise(1.0), allowed=("ta", "xx")), engine.capabilities)
    with pytest.raises(JobRejected, match=r"31.0 s of audio, .* at most 30 s"):
        check_recognise(RecogniseJob(noise(31.0)), engine.capabilities)


@pytest.mark.parametrize("missing", ["model.bin", "tokenizer.json", "preprocessor_config.json"])
def test_a_folder_without_one_of_its_files_is_unavailable(folder: Path, tmp_path: Path, missing: str) -> None:
    for path in folder.iterdir():
        if path.name != missing:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(EngineUnavailable, match=str(tmp_path)):
        WhisperShort(tmp_path)


def test_a_model_without_languages_is_unavailable(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace("<|transcribe|>", "<|other|>"))
    with pytest.raises(EngineUnavailable, match=r"<\|transcribe\|>"):
        WhisperShort(tmp_path)
