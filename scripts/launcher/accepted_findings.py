"""docker/accepted-findings.toml, held against the date and the images' bills of materials.

Called by the tests: a finding is accepted for a reason, for a part that is really there, and not for ever.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

LONGEST = timedelta(days=366)
_SHORTEST_REASON = 40  # characters; less is no reason
_FIELDS = {"id": str, "purl": str, "image": str, "reason": str, "expires": date}


@dataclass(frozen=True)
class Finding:
    """A vulnerability that is lived with: of which part, in which image, why, and until when."""

    id: str
    purl: str
    image: str
    reason: str
    expires: date


def read(file: Path) -> list[Finding]:
    """Read the list; raises `ValueError` for an entry that is not exactly five fields of their types."""
    entries = tomllib.loads(file.read_text(encoding="utf-8")).get("finding", [])
    for entry in entries:
        if {name: type(value) for name, value in entry.items()} != _FIELDS:
            raise ValueError(f"{file.name}: {entry} must hold exactly {', '.join(_FIELDS)}")
    return [Finding(**entry) for entry in entries]


def problems(findings: list[Finding], *, today: date, bills: Mapping[str, Any]) -> list[str]:
    """What is wrong with the list; `bills` are CycloneDX documents by image."""
    found = []
    for finding in findings:
        if finding.expires < today:
            found.append(f"{finding.id}: expired on {finding.expires}: update the part, or judge it anew")
        if finding.expires > today + LONGEST:
            found.append(f"{finding.id}: accepted until {finding.expires}, more than a year ahead")
        if len(finding.reason) < _SHORTEST_REASON:
            found.append(f"{finding.id}: {finding.reason!r} is no reason")
        parts = {part["purl"] for part in bills.get(finding.image, {}).get("components", [])}
        if bills and finding.purl not in parts:
            found.append(f"{finding.id}: {finding.purl} is not in {finding.image}: remove the entry")
    return found
