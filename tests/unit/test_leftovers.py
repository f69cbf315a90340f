"""What a worker finds in Asterisk that is nobody's, and what only looks so."""

from __future__ import annotations

from appliance.gateway.leftovers import Leftovers, left_over
from appliance.telephony.ari_messages import Bridge, Channel, DialplanPlace

CALL = "setu-1-20260102-030405-ab12"


def channel(name: str, app_data: str = "", *, app: str = "Stasis", state: str = "Up") -> Channel:
    return Channel(name, state=state, dialplan=DialplanPlace(app_name=app, app_data=app_data))


CALLER = channel("1700.1", "setu-1")
AGENT = channel(f"{CALL}-agent", f"setu-1,agent,{CALL}")
HALF = channel(f"{CALL}-agent-queue", "it,r", app="Queue")
MEDIA = channel(f"{CALL}-caller-media", "setu-1")


def found(channels: list[Channel], bridges: list[Bridge], **named: list[str]) -> Leftovers:
    return left_over(channels, bridges, app="setu-1", owned=named.get("owned", []), in_use=named.get("in_use", []))


def test_a_whole_call_left_behind() -> None:
    bridges = [Bridge(f"{CALL}-caller", (CALLER.id, MEDIA.id)), Bridge(f"{CALL}-agent", (AGENT.id,))]
    assert found([CALLER, AGENT, HALF, MEDIA], bridges) == Leftovers(
        callers=frozenset({CALLER.id}),
        agents=frozenset({AGENT.id}),
        debris=frozenset({MEDIA.id}),
        bridges=frozenset({f"{CALL}-caller", f"{CALL}-agent"}),
    )


def test_parties_who_were_joined_are_told_apart() -> None:
    left = found([CALLER, AGENT, HALF], [Bridge(f"{CALL}-caller", (CALLER.id, AGENT.id))])
    assert left.joined == {CALLER.id}
    assert left.agents == {AGENT.id}


def test_what_another_worker_or_the_dialplan_has_is_left_alone() -> None:
    """Names and arguments still tell of the first worker; only the bridges know better."""
    assert found([CALLER, AGENT], [Bridge("setu-2-20260102-030405-ab12-caller", (CALLER.id, AGENT.id))]) == Leftovers()
    assert found([CALLER, AGENT], [Bridge("55aa6f81-ae81", (CALLER.id, AGENT.id))]) == Leftovers()


def test_calls_of_the_worker_are_its_own() -> None:
    bridges = [Bridge(f"{CALL}-caller", (CALLER.id,))]
    assert found([CALLER, AGENT], bridges, owned=[CALLER.id, AGENT.id], in_use=[bridges[0].id]) == Leftovers()


def test_who_has_not_answered_is_called_off() -> None:
    ringing = channel(AGENT.id, "(Outgoing Line)", app="AppDial2", state="Ringing")
    assert found([ringing], []).debris == {AGENT.id}


def test_other_workers_and_calls_without_us() -> None:
    others = [channel("1700.2", "setu-12"), channel("setu-12-x-agent", "setu-12"), channel("1700.3", "it", app="Queue")]
    assert found(others, [Bridge("setu-12-x-caller", ("1700.2",))]) == Leftovers()


def test_only_what_is_left_over_twice_counts() -> None:
    first = Leftovers(frozenset({"a", "b"}), frozenset({"a"}), frozenset({"c"}), frozenset({"d"}), frozenset({"e"}))
    later = Leftovers(frozenset({"b"}), frozenset(), frozenset({"c"}), frozenset(), frozenset({"e", "f"}))
    assert first.still(later) == Leftovers(frozenset({"b"}), frozenset(), frozenset({"c"}), frozenset(), frozenset({"e"}))
