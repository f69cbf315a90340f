"""The VITS engine on a small model of that architecture with random weights, in a folder as Coqui leaves one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from small_vits import small_vits

from appliance.config.schema import TtsServer
from appliance.engines import registry
from appliance.engines.base import EngineUnavailable, JobRejected, SynthesiseJob
from appliance.engines.vits_onnx import VitsOnnx
from appliance.engines.vits_text import VitsText

RATE = 22_050
UPSAMPLING = [8, 8, 2, 2]
HOP = 256
CHARACTERS: dict[str, Any] = {
    "characters_class": "TTS.tts.models.vits.VitsCharacters",
    "vocab_dict": None,
    "pad": "_",
    "eos": None,
    "bos": None,
    "blank": "<BLNK>",
    "characters": "अआकगतनपमयरलवसहािीेो्",
    "punctuations": "!,.? ",
    "phonemes": None,
    "is_unique": False,
    "is_sorted": True,
}
STEADY: dict[str, Any] = {"inference_noise_scale": 0.0, "inference_noise_scale_dp": 0.0}


def coqui_config(*, speakers: int = 0, languages: int = 0, **model_args: Any) -> dict[str, Any]:
    """config.json of a voice that reads characters; `model_args` replaces sizes and the scales of inference."""
    sizes = {
        "num_chars": 2 + len(CHARACTERS["punctuations"]) + len(CHARACTERS["characters"]),
        "hidden_channels": 16,
        "hidden_channels_ffn_text_encoder": 32,
        "num_heads_text_encoder": 2,
        "num_layers_text_encoder": 2,
        "kernel_size_text_encoder": 3,
        "kernel_size_flow": 5,
        "dilation_rate_flow": 1,
        "num_layers_flow": 2,
        "resblock_type_decoder": "1",
        "resblock_kernel_sizes_decoder": [3, 5],
        "resblock_dilation_sizes_decoder": [[1, 3], [1, 3]],
        "upsample_rates_decoder": UPSAMPLING,
        "upsample_initial_channel_decoder": 32,
        "upsample_kernel_sizes_decoder": [16, 16, 4, 4],
        "use_sdp": True,
        "inference_noise_scale": 0.667,
        "length_scale": 1,
        "inference_noise_scale_dp": 1.0,
        "use_speaker_embedding": speakers > 0,
        "num_speakers": speakers,
        "speaker_embedding_channels": 8,
        "use_language_embedding": languages > 0,
        "num_languages": languages,
        "embedded_language_dim": 4,
    }
    return {
        "model": "vits",
        "audio": {"fft_size": 1024, "sample_rate": RATE, "win_length": 1024, "hop_length": HOP, "num_mels": 80},
        "use_phonemes": False,
        "text_cleaner": "multilingual_cleaners",
        "enable_eos_bos_chars": False,
        "add_blank": True,
        "characters": CHARACTERS,
        "model_args": sizes | model_args,
    }


CONFIG = coqui_config(**STEADY)


def random_vits(folder: Path, config: dict[str, Any] = CONFIG, *, loudness: float = 1.0) -> Path:
    """model.onnx, config.json and, for several speakers or languages, their numbers."""
    args = config["model_args"]
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(small_vits(args, loudness), folder / "model.onnx")
    (folder / "config.json").write_text(json.dumps(config))
    speakers = [f"speaker{number}" for number in range(args["num_speakers"])]
    languages = ["hi", "ta", "te"][: args["num_languages"]]
    for name, values in (("speaker_ids.json", speakers), ("language_ids.json", languages)):
        if values:
            (folder / name).write_text(json.dumps({value: number for number, value in enumerate(values)}))
    return folder


def run(config: dict[str, Any], rows: list[list[int]], scales: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """The graph itself. Returns: audio (batch, 1, samples) and the frames for each id (batch, ids)."""
    model = small_vits(config["model_args"])
    model.graph.output.append(onnx.helper.make_tensor_value_info("durations", onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for row, values in enumerate(rows):
        ids[row, : len(values)] = values
    lengths = np.array([len(values) for values in rows], np.int64)
    audio, durations = session.run(
        ["output", "durations"], {"input": ids, "input_lengths": lengths, "scales": np.array(scales, np.float32)}
    )
    return audio, durations[:, 0]


def say(engine: VitsOnnx, text: str, language: str = "hi", voice: str = "") -> np.ndarray:
    (result,) = engine.speak([SynthesiseJob(text, language, voice)])
    assert result.rate == 16_000
    assert result.samples.dtype == np.int16
    return result.samples


def test_a_batch_of_different_lengths_is_padded_with_silence_of_no_influence() -> None:
    rows = [VitsText(CONFIG).ids(text) for text in ("नमसत", "न")]
    audio, durations = run(CONFIG, rows, (0.0, 1.0, 0.0))
    frames = durations.sum(axis=1).astype(int)
    assert (durations[1, 3:] == 0).all()
    assert (durations[0] >= 1).all()
    assert frames[0] > frames[1] + 1
    assert audio.shape == (2, 1, frames[0] * HOP)
    assert np.isfinite(audio).all()
    assert np.abs(audio).max() <= 1
    for row, values in enumerate(rows):
        alone, _ = run(CONFIG, [values], (0.0, 1.0, 0.0))
        assert alone.shape == (1, 1, frames[row] * HOP)
        until = (frames[row] - 4) * HOP  # the decoder looks ahead, where a row alone has nothing
        np.testing.assert_allclose(audio[row, 0, :until], alone[0, 0, :until], atol=1e-4)


def test_durations_of_the_graph_grow_with_the_length_scale_and_vary_with_their_noise() -> None:
    ids = VitsText(CONFIG).ids("नमस")
    once, twice, varied = (run(CONFIG, [ids], (0.0, *scales))[1][0] for scales in ((1.0, 0.0), (2.0, 0.0), (1.0, 1.0)))
    assert ((twice == 2 * once) | (twice == 2 * once - 1)).all()
    assert not np.array_equal(varied, once)


def test_a_sentence_becomes_16_khz_audio_of_as_many_frames_as_its_durations(tmp_path: Path) -> None:
    _, durations = run(CONFIG, [VitsText(CONFIG).ids("नमस")], (0.0, 1.0, 0.0))
    samples = say(VitsOnnx(random_vits(tmp_path)), "नमस")
    assert len(samples) == pytest.approx(durations.sum() * HOP * 16_000 / RATE, abs=2)
    assert np.abs(samples.astype(int)).max() > 1000


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_the_length_scale_of_config_json_is_obeyed(tmp_path: Path, scale: float) -> None:
    config = coqui_config(length_scale=scale, **STEADY)
    _, durations = run(config, [VitsText(config).ids("नमसत")], (0.0, scale, 0.0))
    plain, scaled = say(VitsOnnx(random_vits(tmp_path / "1")), "नमसत"), say(VitsOnnx(random_vits(tmp_path / "2", config)), "नमसत")
    assert len(scaled) == pytest.approx(durations.sum() * HOP * 16_000 / RATE, abs=2)
    assert (len(scaled) > len(plain)) == (scale > 1)


def test_the_noise_scales_of_config_json_are_obeyed(tmp_path: Path) -> None:
    steady, coquis = VitsOnnx(random_vits(tmp_path / "1")), VitsOnnx(random_vits(tmp_path / "2", coqui_config()))
    np.testing.assert_array_equal(say(steady, "नमस"), say(steady, "नमस"))
    assert not np.array_equal(say(coquis, "नमस"), say(coquis, "नमस"))
    one = VitsOnnx(random_vits(tmp_path / "3", coqui_config(inference_noise_scale_dp=0.0)))  # the sound varies, not its length
    first, second = say(one, "नमस"), say(one, "नमस")
    assert len(first) == len(second) == len(say(steady, "नमस"))
    assert not np.array_equal(first, second)


def test_loud_output_is_scaled_and_quiet_output_keeps_its_level(tmp_path: Path) -> None:
    loud, quiet = (VitsOnnx(random_vits(tmp_path / str(level), loudness=level)) for level in (20.0, 0.01))
    assert np.abs(say(loud, "नमस").astype(int)).max() == pytest.approx(0.9 * 32767, rel=0.01)
    assert 0 < np.abs(say(quiet, "नमस").astype(int)).max() < 3000


def test_a_batch_is_answered_in_order(tmp_path: Path) -> None:
    engine = VitsOnnx(random_vits(tmp_path))
    short, none, long = engine.speak([SynthesiseJob(text, "hi") for text in ("नम", "", "नमसत")])
    assert len(none.samples) == 0
    np.testing.assert_array_equal(short.samples, say(engine, "नम"))
    np.testing.assert_array_equal(long.samples, say(engine, "नमसत"))


def test_the_registry_loads_a_folder_as_coqui_leaves_it(tmp_path: Path) -> None:
    random_vits(tmp_path / "voice", coqui_config(speakers=2))
    (tmp_path / "voice" / "model.onnx").rename(tmp_path / "voice" / "coqui_vits.onnx")
    engine = registry.synthesiser(TtsServer(engine="vits-onnx", model="voice", voices={"hi": "speaker1"}), tmp_path)
    assert engine.capabilities.name == "vits-onnx"
    (result,) = engine.speak([SynthesiseJob("नम", "hi")])
    assert result.rate == 16_000
    assert len(result.samples) > 7 * HOP * 16_000 / RATE / 2


def test_speakers_are_chosen_by_name_or_by_language(tmp_path: Path) -> None:
    folder = random_vits(tmp_path, coqui_config(speakers=2, **STEADY))
    engine = VitsOnnx(folder, voices={"ta": "speaker1"})
    first, second = say(engine, "नम", voice="speaker0"), say(engine, "नम", voice="speaker1")
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(say(engine, "नम"), first)
    np.testing.assert_array_equal(say(engine, "नम", "ta"), second)
    with pytest.raises(JobRejected, match="'nobody', allowed: speaker0, speaker1"):
        say(engine, "नम", voice="nobody")
    with pytest.raises(EngineUnavailable, match="nobody"):
        VitsOnnx(folder, voices={"ta": "nobody"})


def test_one_model_of_several_languages_is_told_which_to_speak(tmp_path: Path) -> None:
    engine = VitsOnnx(random_vits(tmp_path, coqui_config(languages=2, **STEADY)))
    assert set(engine.capabilities.languages) == {"hi", "ta"}
    assert not np.array_equal(say(engine, "नम", "hi"), say(engine, "नम", "ta"))


def test_a_folder_for_each_language_serves_those_it_has(tmp_path: Path) -> None:
    random_vits(tmp_path / "hi")
    random_vits(tmp_path / "mr")
    engine = VitsOnnx(tmp_path)
    assert engine.capabilities.languages == ("mr", "hi")
    assert len(say(engine, "नम", "mr"))


def test_letters_the_voice_lacks_are_dropped_but_not_a_text_full_of_them(tmp_path: Path) -> None:
    engine = VitsOnnx(random_vits(tmp_path))
    np.testing.assert_array_equal(say(engine, "नमxसत"), say(engine, "नमसत"))
    with pytest.raises(JobRejected, match="adoprswxyz"):
        say(engine, "password xyz नम")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_phonemes": True}, "use_phonemes"),
        ({"characters": None}, "characters"),
        ({"audio": {}}, "sample_rate"),
        ({"characters": CHARACTERS | {"characters": ""}}, "characters.characters"),
    ],
)
def test_a_config_that_cannot_be_served_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = random_vits(tmp_path, CONFIG | change)
    with pytest.raises(EngineUnavailable, match=message):
        VitsOnnx(folder)


def test_a_folder_without_a_usable_graph_is_refused(tmp_path: Path) -> None:
    folder = random_vits(tmp_path)
    graph = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(graph[: len(graph) // 2])
    with pytest.raises(EngineUnavailable, match=str(folder)):
        VitsOnnx(folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(EngineUnavailable, match=r"0 \*\.onnx files"):
        VitsOnnx(folder)


def test_ids_of_vits_characters_are_in_coquis_order_with_blanks_between() -> None:
    text = VitsText(CONFIG)
    blank = 1 + len(CHARACTERS["punctuations"]) + len(CHARACTERS["characters"])
    assert text.ids("अआ,") == [blank, 6, blank, 7, blank, 2, blank]
    assert text.ids("  अ\n आ; ") == [blank, 6, blank, 5, blank, 7, blank, 2, blank]  # this cleaner makes ; a comma


def test_ids_of_base_characters_are_in_coquis_order_with_their_ends() -> None:
    characters = {
        "characters_class": "TTS.tts.utils.text.characters.Graphemes",
        "pad": "<PAD>",
        "eos": "<EOS>",
        "bos": "<BOS>",
        "blank": "",
        "characters": "CBA",
        "punctuations": "! ",
        "is_sorted": True,
    }
    text = VitsText({"characters": characters, "add_blank": False, "enable_eos_bos_chars": True, "text_cleaner": None})
    # <PAD> <EOS> <BOS> A B C ! and space
    assert text.ids("AC !") == [2, 3, 5, 7, 6, 1]
    assert text.ids("!") == []
