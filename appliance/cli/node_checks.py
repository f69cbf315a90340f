"""The checks of `appliance doctor` that only an installed node has, or one with TLS or a graphics card."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

from appliance.cli.findings import Check, Finding, Refused
from appliance.config.load import LoadedConfig
from appliance.config.schema import TrunkAddress
from appliance.node import machine
from appliance.node.acceptance_calls import kept
from appliance.node.certificate import valid_until
from appliance.node.status import CURRENT, drained
from appliance.node.units import EXPIRY, SHARED, TARGET, UnitState, instance_units, is_node, unit_states

DAY_S = 86_400.0
CERTIFICATE_WARN_S = 21 * DAY_S
CARD_WARN = 0.95
"""Share of a card's memory in use; the next long utterance may not fit."""
QUERY = ("nvidia-smi", "--query-gpu=name,memory.used,memory.total", "--format=csv,noheader,nounits")


def node_checks(loaded: LoadedConfig) -> Iterator[tuple[str, Check]]:
    """By name, in the order in which they are best read."""
    config = loaded.config
    if is_node():
        yield "services", _services
        yield "clock", _clock
    if config.telephony.tls_port:
        yield "certificate", _certificate
    if any(part.device != "cpu" for part in (config.stt, config.mt, config.tts)):
        yield "graphics", _graphics
    if is_node():
        for trunk in config.telephony.trunks:
            yield f"trunk-{trunk.name}", partial(_trunk, trunk)
        yield "retention", _retention
        yield "drained", _drained
        yield "acceptance", _acceptance


def _services(loaded: LoadedConfig) -> Finding:
    states = unit_states([TARGET, *SHARED, *instance_units(loaded.config)])
    return services(states)


def services(states: list[UnitState]) -> Finding:
    """What the states of all units together mean."""
    down = [_why(state) for state in states if state.active not in ("active", "activating", "reloading")]
    if down:
        raise Refused(f"{'; '.join(down)}: journalctl -u NAME")
    starting = [state.name for state in states if state.active != "active"]
    restarted = [f"{state.name} {state.restarts} times" for state in states if state.restarts]
    if starting or restarted:
        notes = ([f"starting: {', '.join(starting)}"] if starting else []) + ([f"restarted: {', '.join(restarted)}"] if restarted else [])
        return Finding("services", "warning", "; ".join(notes))
    return Finding("services", "ok", f"{len(states)} units are active")


def _retention(loaded: LoadedConfig) -> Finding:
    timer, service = unit_states(EXPIRY)
    return retention(loaded.config.store.keep_days, timer, service)


def retention(keep_days: int, timer: UnitState, service: UnitState) -> Finding:
    """What the states of the timer and the service that delete old records mean."""
    if service.active == "failed":
        raise Refused("old records could not be deleted: journalctl -u appliance-expire")
    if timer.active != "active":
        return Finding("retention", "warning", "old records are not deleted: systemctl enable --now appliance-expire.timer")
    said = f"records are deleted after {keep_days} days" if keep_days else "records are kept for ever, as configured"
    return Finding("retention", "ok", said)


def _why(state: UnitState) -> str:
    if not state.loaded:
        return f"{state.name} is not installed"
    return f"{state.name} is {state.active}{f' ({state.result})' if state.result not in ('', 'success') else ''}"


def _clock(loaded: LoadedConfig) -> Finding:
    del loaded
    if shutil.which("timedatectl") is None:
        return Finding("clock", "warning", "timedatectl is not installed, so nobody knows whether the time is right")
    said = machine.printed(("timedatectl", "show", "--property=NTPSynchronized", "--value")).strip()
    if said != "yes":
        what = "not synchronised with a time server: records get wrong times, TLS may fail; see timedatectl timesync-status"
        return Finding("clock", "warning", what)
    return Finding("clock", "ok", "synchronised")


def _certificate(loaded: LoadedConfig) -> Finding:
    telephony = loaded.config.telephony
    left_s = valid_until(loaded.path(telephony.tls_certificate), loaded.path(telephony.tls_key)) - time.time()
    until = datetime.fromtimestamp(time.time() + left_s, UTC).strftime("%Y-%m-%d")
    text = f"{loaded.path(telephony.tls_certificate)}: valid until {until}"
    if left_s < CERTIFICATE_WARN_S:
        what = f"{text}, {left_s / DAY_S:.0f} days: replace it and run the playbook with --tags appliance"
        return Finding("certificate", "warning", what)
    return Finding("certificate", "ok", text)


def _graphics(loaded: LoadedConfig) -> Finding:
    config = loaded.config
    needed = any(part.device == "cuda" for part in (config.stt, config.mt, config.tts))
    if shutil.which("nvidia-smi") is None:
        if needed:
            raise Refused("the configuration needs a graphics card, and there is no nvidia-smi: install the driver")
        return Finding("graphics", "ok", "none: models run on the processor")
    cards = machine.cards(machine.printed(QUERY))
    if not cards and needed:
        raise Refused("the driver sees no graphics card")
    text = ", ".join(f"{card.name}: {card.used_mib} of {card.total_mib} MiB" for card in cards)
    full = any(card.used_mib > CARD_WARN * card.total_mib for card in cards)
    return Finding("graphics", "warning" if full else "ok", f"{text}{': nearly full' if full else ''}")


def _trunk(trunk: TrunkAddress, loaded: LoadedConfig) -> Finding:
    del loaded
    return trunk_finding(trunk, machine.asterisk("pjsip show registrations"), machine.asterisk(f"pjsip show endpoint {trunk.name}"))


def trunk_finding(trunk: TrunkAddress, registrations: str, endpoint: str) -> Finding:
    """From what Asterisk printed about its registrations and about the trunk's endpoint."""
    name = f"trunk-{trunk.name}"
    if "Unable to find object" in endpoint or trunk.name not in endpoint:
        raise Refused(f"Asterisk does not know {trunk.name}: its configuration is older than appliance.toml, run the playbook")
    states = machine.registrations(registrations)
    state = states.get(trunk.name)
    if state is None and trunk.server:
        raise Refused(f"no registration is tried at {trunk.server}: Asterisk's configuration is older than appliance.toml")
    if state is None:
        return Finding(name, "ok", f"known by its address {trunk.address}; it does not ask for a registration")
    if state != "Registered":
        raise Refused(f"registration: {state}. Calls do not arrive; user, password and server: docs/trunk.md")
    return Finding(name, "ok", f"registered; calls come from {trunk.address}")


def _drained(loaded: LoadedConfig) -> Finding:
    who = drained(loaded)
    if who:
        return Finding("drained", "warning", f"{' '.join(who)} takes no new calls: appliance undrain")
    return Finding("drained", "ok", "no")


def _acceptance(loaded: LoadedConfig) -> Finding:
    last = kept(loaded.state_dir)
    if last is None:
        return Finding("acceptance", "warning", "no acceptance call has been made: appliance accept")
    when = datetime.fromtimestamp(last.at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if not last.passed:
        bad = "; ".join(problem for call in last.calls for problem in call.problems)
        raise Refused(f"the last one, {when}, failed: {bad or 'no call was made'}")
    delays = [figures.delay_s for call in last.calls for figures in call.lanes.values() if figures.delay_s is not None]
    text = f"{when}: {len(last.calls)} languages, slowest {max(delays, default=0.0):.2f} s"
    release = CURRENT.resolve().name if CURRENT.is_symlink() else ""
    if last.release != release:
        return Finding("acceptance", "warning", f"{text}, but of release {last.release or 'unknown'}: appliance accept")
    return Finding("acceptance", "ok", text)
