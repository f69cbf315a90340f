"""`appliance doctor`: everything a call needs, checked."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from appliance.cli.checks import checks, run
from appliance.cli.findings import Finding, Status
from appliance.cli.options import config_option, config_path
from appliance.config.errors import ConfigError
from appliance.config.load import load

_MARKS: dict[Status, str] = {"ok": "ok", "warning": "WARN", "failed": "FAIL"}
_COLOURS: dict[Status, str] = {"ok": "green", "warning": "yellow", "failed": "red"}


@click.command("doctor", short_help="Check everything a call needs, one line each.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="As a JSON array.")
def doctor_command(config_file: Path | None, as_json: bool) -> None:
    """Check configuration, secrets, models, disk, database, ports, Redis, model servers and the gateway with its Asterisk.

    On an installed node also its services, clock, trunks, the last acceptance call, and where there are some, the certificate
    of SIP over TLS and graphics cards. One line each. Exit status 0 when a call can be taken (warnings allowed), else 1.
    """
    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        if not as_json:
            mark = click.style(f"{_MARKS[finding.status]:4}", fg=_COLOURS[finding.status])
            click.echo(f"{mark}  {finding.name:10}  {finding.detail}")

    try:
        loaded = load(config_path(config_file))
    except ConfigError as error:
        for line in str(error).splitlines():
            tell(Finding("config", "failed", line))
    else:
        tell(Finding("config", "ok", str(loaded.file)))
        for name, check in checks(loaded):
            tell(run(name, check, loaded))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(findings)).decode())
    if any(finding.status == "failed" for finding in findings):
        raise click.exceptions.Exit(1)
