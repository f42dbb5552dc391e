"""Findings are accepted for a reason, for a part that is there, and not for ever."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from launcher.accepted_findings import Finding, problems, read

FILE = Path(__file__).parents[3] / "docker/accepted-findings.toml"
TODAY = date(2026, 3, 1)
PURL = "pkg:maven/io.netty/netty-handler@4.1.91.Final"
BILLS = {"serve": {"components": [{"purl": PURL}]}}


def finding(reason: str = "x" * 60, days: int = 30, purl: str = PURL) -> Finding:
    return Finding("CVE-1", purl, "serve", reason, TODAY + timedelta(days=days))


def test_no_accepted_finding_has_expired() -> None:
    """Where this fails, update the part, or judge the finding anew and give it another date."""
    assert problems(read(FILE), today=date.today(), bills={}) == []


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (finding(days=-1), "expired on 2026-02-28"),
        (finding(days=400), "more than a year ahead"),
        (finding(reason="later"), "'later' is no reason"),
        (finding(purl="pkg:pypi/gone@1"), "pkg:pypi/gone@1 is not in serve"),
    ],
)
def test_what_is_wrong_with_an_entry_is_said(entry: Finding, problem: str) -> None:
    (found,) = problems([entry], today=TODAY, bills=BILLS)
    assert problem in found


def test_a_good_entry_has_no_problem() -> None:
    assert problems([finding(), finding(days=0)], today=TODAY, bills=BILLS) == []


def test_an_entry_with_a_field_too_many_is_refused(tmp_path: Path) -> None:
    text = '[[finding]]\nid = "a"\npurl = "b"\nimage = "c"\nreason = "d"\nexpires = 2026-01-01\nby = "me"\n'
    (tmp_path / "findings.toml").write_text(text)
    with pytest.raises(ValueError, match="must hold exactly id, purl, image, reason, expires"):
        read(tmp_path / "findings.toml")
