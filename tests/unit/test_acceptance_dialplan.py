"""A node's own test call must never ring at a real agent's telephone, whichever way it takes through the dialplan."""

import re
from pathlib import Path

import pytest

from appliance.config.load import load
from appliance.node.acceptance_calls import AGENT, NUMBER_PREFIX
from appliance.stack.defaults import AGENTS, write_config
from appliance.stack.layout import layout_of
from appliance.stack.render import TEMPLATES, asterisk_file, asterisk_values


@pytest.fixture
def rendered(tmp_path: Path) -> dict[str, str]:
    file = write_config(tmp_path)
    file.write_text(file.read_text().replace("agents = [\n", f'agents = [\n    {{ name = "{AGENT}", password = "x1y2z3" }},\n'))
    loaded = load(file)
    values = {**asterisk_values(loaded, layout_of(loaded), "/usr/lib/asterisk/modules"), "announcements": ""}
    return {name: asterisk_file(TEMPLATES / f"{name}.conf.j2", values) for name in ("queues", "extensions")}


def members(text: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for part in re.split(r"^\[", text, flags=re.MULTILINE)[1:]:
        found[part.split("]")[0]] = set(re.findall(r"^member = PJSIP/([^,]+)", part, flags=re.MULTILINE))
    return found


def test_the_two_queues_share_no_telephone(rendered: dict[str, str]) -> None:
    queues = members(rendered["queues"])
    assert queues["it"] == set(AGENTS)
    assert queues["acceptance"] == {AGENT}


def test_every_way_to_a_queue_asks_who_calls(rendered: dict[str, str]) -> None:
    ways = re.findall(r"Queue\((.*)\)$", rendered["extensions"], flags=re.MULTILINE)
    assert len(ways) == 2
    for way in ways:
        assert way.startswith(f'${{IF($["${{CALLERID(num):0:{len(NUMBER_PREFIX)}}}" = "{NUMBER_PREFIX}"]?acceptance:it)}},')
