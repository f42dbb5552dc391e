"""What stands in the pages is there: each link leads somewhere, and each command is run by a test."""

from pathlib import Path

import pytest

import pages

# Who runs a page's commands; the tests of that file say for which words something stands in.
RUN_BY = {
    "CONTRIBUTING.md": "tests/unit/test_contributing.py",
    "README.md": "tests/container/test_pages.py",
    "docs/artifact.md": "tests/container/test_pages.py",
    "docs/debugging.md": "tests/container/test_pages.py",
    "docs/doctor.md": "tests/container/test_pages.py",
    "docs/local-mode.md": "tests/local_mode/test_local_mode.py",
    "docs/operations.md": "tests/aws/test_whole_life.py",
    "docs/training.md": "tests/container/test_pages.py",
    "docs/tuning.md": "tests/container/test_pages.py",
}


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: str(page.relative_to(pages.ROOT)))
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    broken = []
    for link in pages.links(page):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if file.startswith(("https://", "http://", "mailto:")):
            continue
        if not target.exists() or (anchor and anchor not in pages.anchors(target)):
            broken.append(link)

    assert broken == []


def test_each_page_with_commands_has_a_test_that_runs_them() -> None:
    with_commands = {
        str(page.relative_to(pages.ROOT)) for page in pages.PAGES if pages.blocks(page, "sh", "python")
    }

    assert with_commands == RUN_BY.keys()
    for page, test in RUN_BY.items():
        assert Path(page).stem in (pages.ROOT / test).read_text(encoding="utf-8"), (
            f"{test} does not name {page}"
        )


def test_a_link_to_nowhere_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n| a table |\n|---|\n| [gone](gone.md#a-page) ![picture](none.png) |\n")

    assert pages.links(page) == ["gone.md#a-page", "none.png"]
    assert pages.anchors(page) == {"a-page"}
