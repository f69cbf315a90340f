"""The translator around its model: format, placeholders, guards. Weights are random; what it says is tested with the starter model."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sentencepiece
from ctranslate2.specs import transformer_spec

from appliance.engines.base import EngineUnavailable, JobRejected, TranslateJob, check_translate
from appliance.engines.ct2_translator import CT2Translator
from appliance.text.placeholders import NUMBER_PLACEHOLDERS, TERM_PLACEHOLDERS

WIDTH = 16
CODES = ("ta", "te", "kn", "mr", "hi", "hinglish")


def random_translator(folder: Path) -> Path:
    """An encoder and a decoder of one layer in CTranslate2's format with a SentencePiece model of the starter's kind."""
    folder.mkdir(parents=True, exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["मेरा laptop धीमा है", "என் laptop மெதுவாக ஓடுகிறது", "ticket number <n1> लिख लीजिए"] * 20),
        model_prefix=str(folder / "spm"),
        vocab_size=120,
        hard_vocab_limit=False,
        character_coverage=1.0,
        control_symbols=[*(f"__{code}__" for code in CODES), "<offtopic>"],
        user_defined_symbols=[*NUMBER_PLACEHOLDERS, *TERM_PLACEHOLDERS],
        bos_id=0,
        pad_id=1,
        eos_id=2,
        unk_id=3,
        minloglevel=2,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
    rng = np.random.default_rng(1)

    def matrix(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    spec = transformer_spec.TransformerSpec.from_config(1, 2)
    for layers, extra in ((spec.encoder.layer, False), (spec.decoder.layer, True)):
        for layer in layers:
            attentions = [(layer.self_attention, [3 * WIDTH, WIDTH])] + ([(layer.attention, [WIDTH, 2 * WIDTH, WIDTH])] if extra else [])
            for attention, widths in attentions:
                _norm(attention.layer_norm)
                for part, width in zip(attention.linear, widths, strict=True):
                    part.weight, part.bias = matrix(width, WIDTH), np.zeros(width, np.float32)
            _norm(layer.ffn.layer_norm)
            layer.ffn.linear_0.weight, layer.ffn.linear_0.bias = matrix(2 * WIDTH, WIDTH), np.zeros(2 * WIDTH, np.float32)
            layer.ffn.linear_1.weight, layer.ffn.linear_1.bias = matrix(WIDTH, 2 * WIDTH), np.zeros(WIDTH, np.float32)
    _norm(spec.encoder.layer_norm)
    _norm(spec.decoder.layer_norm)
    spec.encoder.embeddings[0].weight = matrix(pieces.vocab_size(), WIDTH)
    spec.decoder.embeddings.weight = matrix(pieces.vocab_size(), WIDTH)
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    for part in (spec.encoder, spec.decoder):
        part.position_encodings.encodings = matrix(256, WIDTH)
    tokens = [pieces.id_to_piece(number) for number in range(pieces.vocab_size())]
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    spec.config.decoder_start_token = "</s>"
    spec.validate()
    spec.optimize()
    spec.save(str(folder))
    return folder


def _norm(spec: object) -> None:
    spec.gamma, spec.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_translator(tmp_path_factory.mktemp("models") / "mt")


@pytest.fixture(scope="module")
def engine(folder: Path) -> CT2Translator:
    return CT2Translator(folder, compute_type="float32", beam_size=1)


def chosen(engine: CT2Translator, source: str, *hypotheses: str) -> tuple[str, float, bool]:
    """What is made of these hypotheses, whose scores are -0.1, -0.2..."""
    tokens = [["__hinglish__", *([text] if text == "<offtopic>" else engine._target.encode(text, out_type=str))] for text in hypotheses]
    result = SimpleNamespace(hypotheses=tokens, scores=[-0.1 * (number + 1) for number in range(len(tokens))])
    translated, exact = engine._choose(engine._prepare(TranslateJob(source, "hi", "hinglish")), result)
    return translated.text, translated.score, exact


def test_the_source_is_language_pieces_end_with_numbers_as_placeholders(engine: CT2Translator) -> None:
    source = engine._prepare(TranslateJob("ticket number 40723 लिख लीजिए", "hi", "hinglish"))
    assert (source.tokens[0], source.tokens[-1], source.prefix) == ("__hi__", "</s>", ["__hinglish__"])
    assert "<n1>" in source.tokens
    assert dict(source.protected.values) == {"<n1>": "40723"}


def test_placeholders_become_their_values_again(engine: CT2Translator) -> None:
    assert chosen(engine, "ticket 40723", "ticket <n1>") == ("ticket 40723", -0.1, True)


def test_the_best_hypothesis_that_kept_every_number_is_taken(engine: CT2Translator) -> None:
    found = chosen(engine, "ticket 40723 और 12", "ticket <n1>", "ticket <n2> <n2>", "ticket <n2> <n1>")
    assert found == ("ticket 12 40723", pytest.approx(-0.3), True)


def test_when_all_lost_a_number_the_best_is_taken_and_said_to_be_inexact(engine: CT2Translator) -> None:
    assert chosen(engine, "ticket 40723", "laptop", "ticket") == ("laptop", -0.1, False)


def test_a_decoder_that_does_not_stop_is_cut_and_said_to_be_inexact(engine: CT2Translator) -> None:
    text, _, exact = chosen(engine, "है", "laptop " * 100)
    assert not exact
    assert len(engine._target.encode(text)) < 50


def test_off_topic_is_an_empty_translation(engine: CT2Translator) -> None:
    assert chosen(engine, "ticket 40723", "<offtopic>") == ("", -0.1, True)


def test_a_batch_is_answered_in_order_and_as_alone(engine: CT2Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.engines.ct2_translator.RESCUE_HYPOTHESES", 1)  # random weights make a wide search a matter of rounding
    jobs = [
        TranslateJob("मेरा laptop धीमा है", "hi", "hinglish"),
        TranslateJob("  ", "hi", "hinglish"),
        TranslateJob("என் laptop மெதுவாக ஓடுகிறது", "ta", "hinglish"),
        TranslateJob("ticket number 40723", "hinglish", "mr"),
    ]
    together = engine.translate(jobs)
    assert [item.text for item in together] == [engine.translate([job])[0].text for job in jobs]
    assert together[1].text == ""


def test_a_sentence_longer_than_the_model_is_rejected(engine: CT2Translator) -> None:
    with pytest.raises(JobRejected, match="the model takes 250"):
        engine.translate([TranslateJob("मेरा laptop धीमा है " * 50, "hi", "hinglish")])


def test_directions_the_model_has_not_are_rejected_with_those_it_has(engine: CT2Translator) -> None:
    with pytest.raises(JobRejected, match=r"ta to hi, allowed: hi-hinglish, hinglish-hi, hinglish-kn"):
        check_translate(TranslateJob("x", "ta", "hi"), engine.capabilities)
    with pytest.raises(JobRejected, match="1001 characters"):
        check_translate(TranslateJob("x" * 1001, "ta", "hinglish"), engine.capabilities)


def test_another_format_is_described_beside_the_model(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    described = tmp_path / "translator.json"
    described.write_text(json.dumps({"tokens": {"hi": "__hi__", "ta": "__ta__"}, "pairs": [["hi", "ta"]], "placeholders": False}))
    engine = CT2Translator(tmp_path)
    assert engine.capabilities.pairs == {("hi", "ta")}
    assert "<n1>" not in engine._prepare(TranslateJob("ticket 40723", "hi", "ta")).tokens
    described.write_text(json.dumps({"tokens": {"hi": "__nosuch__"}}))
    with pytest.raises(EngineUnavailable, match="no token __nosuch__ for language hi"):
        CT2Translator(tmp_path)
    described.write_text(json.dumps({"token": {}}))
    with pytest.raises(EngineUnavailable, match="unknown field `token`"):
        CT2Translator(tmp_path)


@pytest.mark.parametrize("missing", ["model.bin", "spm.model"])
def test_a_folder_without_one_of_its_files_is_unavailable(folder: Path, tmp_path: Path, missing: str) -> None:
    for path in folder.iterdir():
        if path.name != missing:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(EngineUnavailable, match=str(tmp_path)):
        CT2Translator(tmp_path)
