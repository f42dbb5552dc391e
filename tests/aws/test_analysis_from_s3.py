"""A job's output is brought from S3, here from a server that speaks its API, and analysed."""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import boto3
import pytest
from cloud import Cloud

from launcher import job_output
from launcher.errors import SettingsError, WorkFailed
from launcher.job_output import JobOutput
from launcher.s3 import Prefix

SCRIPT = Path(__file__).parents[2] / "scripts/analyze_debug.py"
EVENT = "events/000000000000/000000000000_worker_0.tfevents"


@pytest.fixture
def bucket(cloud: Cloud) -> Any:
    """An empty bucket; `put` fills it."""
    client = boto3.client("s3")
    place = {"LocationConstraint": client.meta.region_name}
    client.create_bucket(Bucket="bucket", CreateBucketConfiguration=place)
    return client


def put(bucket: Any, **files: bytes) -> None:
    for name, content in files.items():
        bucket.put_object(Bucket="bucket", Key=name, Body=content)


def packed(**files: bytes) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def everything(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_jobs_prefix_brings_its_data_and_its_tensors_and_nothing_else(bucket: Any, tmp_path: Path) -> None:
    large = os.urandom(9_000_000)  # comes in several parts
    put(
        bucket,
        **{
            "out/dogs-1/output/output.tar.gz": packed(**{"data/run.json": b"{}", "data/x.csv": b"1"}),
            f"out/dogs-1/debug-output/{EVENT}": large,
            "out/dogs-1/debug-output/collections/": b"",
            "out/dogs-1/debug-output/collections/000000000/worker_0_collections.json": b"{}",
            "out/dogs-1/debug-output/training_job_end.ts": b"",
            "out/dogs-1/output/model.tar.gz": b"large",
            "out/dogs-1/profiler-output/system/1.json": b"{}",
            f"out/dogs-10/debug-output/{EVENT}": b"another job's",
        },
    )

    found = job_output.find("s3://bucket/out/dogs-1", tmp_path)

    assert found == JobOutput(tmp_path / "unpacked/data", tmp_path / "download/debug-output")
    assert everything(tmp_path / "unpacked") == {"data/run.json": b"{}", "data/x.csv": b"1"}
    assert everything(tmp_path / "download/debug-output") == {
        EVENT: large,
        "collections/000000000/worker_0_collections.json": b"{}",
        "training_job_end.ts": b"",
    }
    assert sorted(path.name for path in (tmp_path / "download").iterdir()) == ["debug-output", "output"]
    assert list((tmp_path / "download/output").iterdir()) == [tmp_path / "download/output/output.tar.gz"]


def test_a_trials_prefix_and_an_output_folders_are_enough(bucket: Any, tmp_path: Path) -> None:
    put(bucket, **{f"trial/{EVENT}": b"1", f"data/tensors/{EVENT}": b"1"})
    put(bucket, **{"data/run.json": b"{}", "data/confusion.csv": b"1", "data/trace/huge": b"1"})

    trial = job_output.find("s3://bucket/trial/", tmp_path / "a")
    data = job_output.find("s3://bucket/data", tmp_path / "b")

    assert trial == JobOutput(None, tmp_path / "a/download")
    assert data == JobOutput(tmp_path / "b/download", tmp_path / "b/download/tensors")
    assert set(everything(tmp_path / "b/download")) == {"run.json", "confusion.csv", f"tensors/{EVENT}"}


def test_a_second_time_only_what_is_missing_or_of_another_size_is_fetched(
    bucket: Any, tmp_path: Path
) -> None:
    put(bucket, **{f"trial/{EVENT}{number}": b"12345" for number in range(3)})
    job_output.find("s3://bucket/trial", tmp_path)
    kept, short, lost = (tmp_path / f"download/{EVENT}{number}" for number in range(3))
    kept.write_bytes(b"KEPT!")
    short.write_bytes(b"123")
    lost.unlink()

    job_output.find("s3://bucket/trial", tmp_path)

    assert [each.read_bytes() for each in (kept, short, lost)] == [b"KEPT!", b"12345", b"12345"]


def test_a_file_that_changes_while_it_is_fetched_is_not_taken(bucket: Any, tmp_path: Path) -> None:
    put(bucket, **{f"trial/{EVENT}": b"12345"})

    with pytest.raises(WorkFailed, match="has 5 bytes now, and had 4 before"):
        Prefix("s3://bucket/trial").fetch({EVENT: 4}, tmp_path)

    assert everything(tmp_path) == {}


@pytest.mark.parametrize(
    "name", ["events/../../../escaped", "/escaped/events/1", "debug-output/../../escaped"]
)
def test_a_name_that_leads_elsewhere_is_refused(bucket: Any, tmp_path: Path, name: str) -> None:
    put(bucket, **{f"trial/{name}": b"1", f"trial/{EVENT}": b"1"})

    with pytest.raises(WorkFailed, match="leads outside its folder"):
        job_output.find("s3://bucket/trial", tmp_path / "inside")

    assert everything(tmp_path) == {}


def test_a_file_that_is_a_folder_too_is_a_failure_with_a_reason(bucket: Any, tmp_path: Path) -> None:
    put(bucket, **{"trial/events/1": b"1", "trial/events/1/2": b"2"})

    with pytest.raises(WorkFailed, match="a file and a folder at once"):
        job_output.find("s3://bucket/trial", tmp_path)


def test_an_archive_that_leads_elsewhere_is_refused(bucket: Any, tmp_path: Path) -> None:
    put(bucket, **{"job/output/output.tar.gz": packed(**{"../../escaped": b"1"})})

    with pytest.raises(WorkFailed, match="leads outside its folder"):
        job_output.find("s3://bucket/job", tmp_path)

    assert not (tmp_path / "unpacked").exists()
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize(
    ("uri", "error", "message"),
    [
        ("s3://bucket/nothing", SettingsError, "has nothing below it"),
        ("s3://bucket/else", SettingsError, r"neither output/output\.tar\.gz nor debug-output/"),
        ("s3://no-such-bucket/job", WorkFailed, "NoSuchBucket"),
        ("s3:///job", SettingsError, "not of the form"),
    ],
)
def test_where_nothing_can_be_analysed_that_is_said(
    bucket: Any, tmp_path: Path, uri: str, error: type[Exception], message: str
) -> None:
    put(bucket, **{"else/model.tar.gz": b"1"})

    with pytest.raises(error, match=message):
        job_output.find(uri, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_before_anything_is_fetched(bucket: Any, tmp_path: Path) -> None:
    put(bucket, **{f"trial/{EVENT}": b"1"})

    with pytest.raises(WorkFailed, match="GB are needed"):
        Prefix("s3://bucket/trial").fetch({EVENT: 1 << 60}, tmp_path)

    assert everything(tmp_path) == {}


def test_the_script_fetches_a_job_and_reports_on_it(bucket: Any, tmp_path: Path) -> None:
    finding = b'[{"rule": "DataWait", "step": null, "tensor": "step", "value": 0.4, "threshold": 0.2, '
    finding += b'"says": "the step waits for data", "advice": "More workers."}]'
    results = {
        "data/run.json": b'{"job_name": "dogs-1", "status": "completed"}',
        "data/findings.json": finding,
    }
    put(bucket, **{"out/dogs-1/output/output.tar.gz": packed(**results)})

    done = subprocess.run(
        [sys.executable, SCRIPT, "s3://bucket/out/dogs-1", "--backend", "process"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 3, done.stderr
    report = tmp_path / "runs/analysis/dogs-1/report/report.html"
    assert done.stdout.splitlines() == [
        "finding: DataWait: the step waits for data. More workers.",
        f"report: {report}",
    ]
    assert "the step waits for data" in report.read_text()
