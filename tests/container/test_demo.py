"""`make demo` with containers: from the pictures to the table, and three ways to the same answers."""

import csv

from project import DemoRun


def test_the_demo_names_pictures_and_reports_its_accuracy_and_times(demo: DemoRun) -> None:
    assert "Pictures of the test split" in demo.stdout
    assert "DRAWINGS made by this program, not photographs" in demo.stdout
    assert "backend   docker" in demo.stdout
    assert "efficientnet_lite0 (weights: image)" in demo.stdout
    for stage in ("set-up", "images", "train", "deploy", "ask about"):
        assert stage in demo.stdout


def test_what_was_trained_recognises_the_drawings(demo: DemoRun) -> None:
    assert demo.artifact["metrics"]["test:accuracy"] > 0.8


def test_unreadable_training_files_are_in_the_quarantine_report(demo: DemoRun) -> None:
    with (demo.job / "output/data/quarantine.csv").open() as file:
        rows = list(csv.DictReader(file))

    assert len(rows) == 2
    assert all(row["reason"] for row in rows)


def test_the_job_leaves_files_that_belong_to_the_caller(demo: DemoRun) -> None:
    owner = demo.job.stat().st_uid

    assert {path.lstat().st_uid for path in demo.job.rglob("*")} == {owner}


def test_no_container_is_left_behind(demo: DemoRun) -> None:
    assert demo.containers_left == []
