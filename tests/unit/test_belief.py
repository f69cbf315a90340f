import json
import math
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from lane_rig import LoudDetector, prompts

from appliance.config.load import LoadedConfig, parse
from appliance.config.schema import Config
from appliance.gateway.assembly import Interpreters
from appliance.gateway.interpretation import CallContext
from appliance.interpreter import calibration
from appliance.interpreter.belief import SPEECH_LEAST, TRANSLATION_LEAST, Belief
from appliance.interpreter.calibration import RANGES, Calibration, CalibrationError
from appliance.interpreter.clock import MediaClock
from appliance.interpreter.confidence import Evidence, overall, recognised, translated
from appliance.interpreter.hinglish import Hinglish

WEIGHTS = {"avg_logprob": 2.0, "no_speech_log_odds": -0.2, "log_agreement": 2.0, "translation_score": 2.0}
TYPICAL = {"avg_logprob": -0.1, "no_speech_log_odds": -5.0, "log_agreement": -0.1, "translation_score": -0.1}
GOOD = Evidence("एक", -0.1, 0.01, support=0.9)


def made(*without: str, threshold: float = 0.5, bias: float = 1.0) -> Calibration:
    weights = {name: weight for name, weight in WEIGHTS.items() if name not in without}
    typical = {name: TYPICAL[name] for name in weights}
    return Calibration(weights=weights, bias=bias, threshold=threshold, typical=typical, in_domain=9, out_of_domain=9, curve=[])


def config(**least: float) -> Config:
    sections = {name: {"min_confidence": value} for name, value in least.items()}
    return msgspec.convert(sections, Config)


def test_without_a_calibration_each_half_has_its_threshold() -> None:
    belief = Belief(Config())
    seen = Evidence("एक", -0.5, 0.1, 0.8)
    assert belief.recognised(seen) == recognised(seen)
    assert belief.overall(seen, -0.4) == overall(recognised(seen), translated(-0.4))
    assert belief.refusal(Evidence("एक", math.log(SPEECH_LEAST - 0.01), 0.0)) == "unclear-speech"
    assert belief.refusal(Evidence("एक", math.log(SPEECH_LEAST + 0.01), 0.0)) == ""
    assert belief.refusal(GOOD, math.log(TRANSLATION_LEAST - 0.01)) == "unsure-translation"
    assert belief.refusal(GOOD, math.log(TRANSLATION_LEAST + 0.01)) == ""
    assert belief.certain(Evidence("एक", math.log(SPEECH_LEAST + 0.01), 0.0))


@pytest.mark.parametrize("known", [None, made()])
def test_silence_and_flaws_are_refused_whatever_the_score(known: Calibration | None) -> None:
    belief = Belief(Config(), known)
    silence, noise = Evidence(" .", 0.0, 0.0, support=1.0), Evidence("एक", -1.0, 0.9, support=1.0)
    for seen in (silence, noise):
        assert (belief.recognised(seen), belief.refusal(seen), belief.certain(seen)) == (0.0, "unclear-speech", False)
    assert belief.refusal(GOOD, -0.01, "number-lost") == "number-lost"
    assert belief.overall(GOOD, -0.01, "number-lost") == 0.0


def test_the_reason_is_what_costs_most_against_what_is_typical() -> None:
    belief = Belief(Config(), made())
    assert belief.refusal(GOOD, -0.1) == ""
    assert belief.refusal(Evidence("एक", -0.05, 0.001, support=0.05), -0.1) == "unsupported-speech"
    assert belief.refusal(Evidence("एक", -3.0, 0.01, support=0.9), -0.1) == "unclear-speech"
    assert belief.refusal(GOOD, -3.0) == "unsure-translation"


def test_before_the_translation_only_what_it_cannot_save_is_refused() -> None:
    belief = Belief(Config(), made())
    scores = [-step / 20 for step in range(40)]
    for support in (0.3, 0.45, 0.6, 0.75, 0.9):
        seen = Evidence("एक", -0.1, 0.01, support=support)
        later = [belief.refusal(seen, score) for score in scores]
        assert bool(belief.refusal(seen)) == all(later)
        assert belief.recognised(seen) == max(belief.overall(seen, score) for score in scores)
    backwards = msgspec.structs.replace(made(), weights=WEIGHTS | {"translation_score": -1.0}, bias=-2.0)
    assert Belief(Config(), backwards).recognised(GOOD) == Belief(Config(), backwards).overall(GOOD, -4.0)


def test_a_configured_threshold_comes_before_the_models_own() -> None:
    score = Belief(Config(), made()).overall(GOOD, -0.1)
    assert Belief(config(recognise=score + 0.01), made()).refusal(GOOD, -0.1)
    assert not Belief(config(recognise=score - 0.01), made(threshold=0.99)).refusal(GOOD, -0.1)
    assert Belief(Config(), made(threshold=score + 0.01)).refusal(GOOD, -0.1)
    assert Belief(config(recognise=0.0)).refusal(Evidence("एक", -3.0, 0.0), -0.1) == ""


def test_the_translation_alone_is_checked_where_it_is_not_weighed_or_where_that_is_wanted() -> None:
    bad = math.log(TRANSLATION_LEAST) - 0.01
    lenient = made(bias=9.0)
    assert Belief(Config(), lenient).refusal(GOOD, bad) == ""
    assert Belief(config(translate=0.3), lenient).refusal(GOOD, bad) == "unsure-translation"
    assert Belief(Config(), made("translation_score", bias=9.0)).refusal(GOOD, bad) == "unsure-translation"


def test_an_engine_that_tells_less_than_is_weighed_is_judged_by_its_own_probabilities() -> None:
    seen = Evidence("एक", -0.5, 0.1)
    for belief in (Belief(Config()), Belief(Config(), made(threshold=0.99))):
        assert (belief.recognised(seen), belief.refusal(seen, -0.1)) == (recognised(seen), "")
    assert Belief(Config(), made("log_agreement", threshold=0.99)).refusal(seen, -0.1) == "unclear-speech"


def test_a_partial_decode_needs_more_than_the_threshold() -> None:
    belief = Belief(Config(), made())
    supports = [0.3 + 0.01 * step for step in range(70)]
    passed = [share for share in supports if not belief.refusal(Evidence("एक", -0.1, 0.01, support=share))]
    certain = [share for share in supports if belief.certain(Evidence("एक", -0.1, 0.01, support=share))]
    assert supports[0] < passed[0] < certain[0] < 1
    assert belief.recognised(Evidence("एक", -0.1, 0.01, support=certain[0])) >= 0.75


def test_features_are_kept_within_their_ranges() -> None:
    worst = calibration.features(
        avg_logprob=-90.0, no_speech_prob=1.0, support=0.0, empty_prob=1.0, partial_agreement=-1.0, translation_score=-90.0
    )
    best = calibration.features(
        avg_logprob=1.0, no_speech_prob=0.0, support=1.0, empty_prob=0.0, partial_agreement=2.0, translation_score=1.0
    )
    for name, (low, high) in RANGES.items():
        ends = (worst[name], best[name])
        assert ends == pytest.approx((high, low) if name.endswith("_log_odds") else (low, high))
    only = calibration.features(
        avg_logprob=None, no_speech_prob=None, support=None, empty_prob=None, partial_agreement=None, translation_score=-1.0
    )
    assert only == {"translation_score": -1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": WEIGHTS | {"loudness": 1.0}}, "weights of loudness; possible: avg_logprob"),
        ({"weights": {}, "typical": {}}, "weights of nothing"),
        ({"typical": {"avg_logprob": -0.1}}, "typical values of avg_logprob, but weights of"),
        ({"threshold": 1.5}, r"<= 1.0.*\$\.threshold"),
        ({"bias": "0"}, r"Expected `float`, got `str`.*\$\.bias"),
        ({"tresholds": 1}, "unknown field `tresholds`"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_what_is_wrong(tmp_path: Path, change: dict[str, object], message: str) -> None:
    file = tmp_path / calibration.FILE_NAME
    file.write_text(json.dumps(msgspec.to_builtins(made()) | change))
    with pytest.raises(CalibrationError, match=message) as caught:
        calibration.read(tmp_path)
    assert str(file) in caught.value.message
    assert "appliance evaluate refusal" in caught.value.hint


def test_a_file_without_numbers_is_no_calibration(tmp_path: Path) -> None:
    (tmp_path / calibration.FILE_NAME).write_text("{")
    with pytest.raises(CalibrationError, match="no calibration of a recogniser"):
        calibration.read(tmp_path)
    (tmp_path / calibration.FILE_NAME).unlink()
    (tmp_path / calibration.FILE_NAME).mkdir()
    with pytest.raises(CalibrationError, match=r"refusal\.json: cannot be read"):
        calibration.read(tmp_path)


def test_it_is_that_of_the_recogniser_in_use(tmp_path: Path) -> None:
    (tmp_path / "models/a/stt").mkdir(parents=True)
    (tmp_path / "models/a/stt" / calibration.FILE_NAME).write_bytes(msgspec.json.encode(made()))

    def of(stt: str) -> Calibration | None:
        file = tmp_path / "appliance.toml"
        return calibration.of_recogniser(LoadedConfig(parse(f"[stt]\n{stt}\n", file), file))

    assert of('model = "a/stt"') == made()
    assert of('model = "b/stt"') is None
    assert of('model = "a/stt"\nengine = "stub"') is None


def test_a_worker_does_not_start_with_a_broken_one(tmp_path: Path) -> None:
    folder = tmp_path / "models/starter/stt"
    folder.mkdir(parents=True)
    (folder / calibration.FILE_NAME).write_text("{}")
    (tmp_path / "appliance.toml").write_text("")
    command = [sys.executable, "-m", "appliance.gateway", "--worker", "1", "--config", tmp_path / "appliance.toml"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"gateway-1 does not start: {folder / calibration.FILE_NAME}: no calibration of a recogniser")
    assert "Traceback" not in ended.stderr


async def test_a_worker_judges_its_calls_by_it() -> None:
    class Nothing:
        async def recall(self, number: str) -> None:
            return None

        def keep(self, *flagged: object) -> None:
            pass

        def forget(self, call: object) -> None:
            pass

    belief = Belief(Config(), made())
    nothing = Nothing()
    interpreters = Interpreters(Config(), nothing, MediaClock(LoudDetector()), nothing, Hinglish({}), belief, nothing, nothing)  # type: ignore[arg-type]
    interpreters.prompts = prompts()
    call = await interpreters.make(CallContext("call-1", "1", "2", lambda event: None, lambda reason: None))
    assert call._scope.belief is belief
    await call.stop()
