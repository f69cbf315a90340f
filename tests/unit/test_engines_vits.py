"""The VITS engine on a graph with the inputs and the output of a Coqui export, but small, random and speechless."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.engines.base import EngineUnavailable, JobRejected, SynthesiseJob
from appliance.engines.vits_onnx import VitsOnnx
from appliance.engines.vits_text import VitsText

onnx = pytest.importorskip("onnx", reason="the dev extra is not installed")

UPSAMPLING = 256
RATE = 22_050
CHARACTERS = {
    "characters_class": "TTS.tts.models.vits.VitsCharacters",
    "pad": "_",
    "punctuations": "!,.? ",
    "characters": "अआकगतनपमयरलवसहािीेो्",
    "phonemes": None,
    "blank": "<BLNK>",
}
CONFIG: dict[str, Any] = {
    "audio": {"sample_rate": RATE},
    "use_phonemes": False,
    "text_cleaner": "multilingual_cleaners",
    "add_blank": True,
    "characters": CHARACTERS,
    "model_args": {"length_scale": 1.0},
}


def random_vits(folder: Path, *, speakers: int = 0, config: dict[str, Any] | None = None, loudness: float = 1.0) -> Path:
    """Embedding, convolution and one transposed convolution in place of VITS's encoder, flow and decoder: 256 samples for each id."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    inputs = [
        ("input", TensorProto.INT64, ["batch", "ids"]),
        ("input_lengths", TensorProto.INT64, ["batch"]),
        ("scales", TensorProto.FLOAT, [3]),
    ]
    weights = {
        "table": rng.normal(size=(40, 8)).astype(np.float32),
        "kernel": rng.normal(size=(8, 8, 3)).astype(np.float32),
        "upsample": (loudness * rng.normal(size=(8, 1, UPSAMPLING))).astype(np.float32),
    }
    nodes = [helper.make_node("Gather", ["table", "input"], ["embedded"])]
    last = "embedded"
    if speakers:
        inputs.append(("sid", TensorProto.INT64, [1]))
        weights["voices"] = 3 * rng.normal(size=(speakers, 8)).astype(np.float32)
        nodes += [helper.make_node("Gather", ["voices", "sid"], ["voice"]), helper.make_node("Add", [last, "voice"], ["voiced"])]
        last = "voiced"
    nodes += [
        helper.make_node("Transpose", [last], ["channels"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["channels", "kernel"], ["encoded"], pads=[1, 1]),
        helper.make_node("ConvTranspose", ["encoded", "upsample"], ["output"], strides=[UPSAMPLING]),
    ]
    graph = helper.make_graph(
        nodes,
        "vits",
        [helper.make_tensor_value_info(*item) for item in inputs],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 1, "samples"])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.checker.check_model(model)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    (folder / "config.json").write_text(json.dumps(config or CONFIG))
    if speakers:
        (folder / "speaker_ids.json").write_text(json.dumps({f"speaker{number}": number for number in range(speakers)}))
    return folder


def say(engine: VitsOnnx, text: str, language: str = "hi", voice: str = "") -> np.ndarray:
    (result,) = engine.speak([SynthesiseJob(text, language, voice)])
    assert result.rate == 16_000
    assert result.samples.dtype == np.int16
    return result.samples


def test_a_sentence_becomes_16_khz_audio_of_the_graphs_length(tmp_path: Path) -> None:
    samples = say(VitsOnnx(random_vits(tmp_path)), "नमस")
    assert len(samples) == pytest.approx((2 * 3 + 1) * UPSAMPLING * 16_000 / RATE, abs=2)
    assert np.abs(samples.astype(int)).max() == pytest.approx(0.9 * 32767, rel=0.01)  # loud output is scaled, not clipped


def test_quiet_output_keeps_its_level(tmp_path: Path) -> None:
    assert np.abs(say(VitsOnnx(random_vits(tmp_path, loudness=0.001)), "नमस").astype(int)).max() < 3000


def test_a_batch_is_answered_in_order(tmp_path: Path) -> None:
    engine = VitsOnnx(random_vits(tmp_path))
    results = engine.speak([SynthesiseJob(text, "hi") for text in ("नम", "", "नमसत")])
    assert [len(item.samples) for item in results] == [len(say(engine, "नम")), 0, len(say(engine, "नमसत"))]


def test_speakers_are_chosen_by_name_or_by_language(tmp_path: Path) -> None:
    folder = random_vits(tmp_path, speakers=2)
    engine = VitsOnnx(folder, voices={"ta": "speaker1"})
    first, second = say(engine, "नम", voice="speaker0"), say(engine, "नम", voice="speaker1")
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(say(engine, "नम"), first)
    np.testing.assert_array_equal(say(engine, "नम", "ta"), second)
    with pytest.raises(JobRejected, match="'nobody', allowed: speaker0, speaker1"):
        say(engine, "नम", voice="nobody")
    with pytest.raises(EngineUnavailable, match="nobody"):
        VitsOnnx(folder, voices={"ta": "nobody"})


def test_a_folder_for_each_language_serves_those_it_has(tmp_path: Path) -> None:
    random_vits(tmp_path / "hi")
    random_vits(tmp_path / "mr")
    engine = VitsOnnx(tmp_path)
    assert engine.capabilities.languages == ("mr", "hi")
    assert len(say(engine, "नम", "mr"))


def test_letters_the_voice_lacks_are_dropped_but_not_a_text_full_of_them(tmp_path: Path) -> None:
    engine = VitsOnnx(random_vits(tmp_path))
    assert len(say(engine, "नमxसत")) == len(say(engine, "नमसत"))
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
    folder = random_vits(tmp_path, config=CONFIG | change)
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
