"""What SageMaker Clarify is given, held against its own SDK, and what it will cost."""

import io
from pathlib import Path

import pytest
from sagemaker.core.clarify import ANALYSIS_CONFIG_SCHEMA_V1_0
from sagemaker.core.image_uris import retrieve

from launcher import archives, clarify_files, clarify_requests, costs, prices
from launcher.account import Account
from launcher.clarify_images import ACCOUNTS, clarify_image
from launcher.errors import SettingsError, WorkFailed
from launcher.requests import Request
from launcher.settings import Settings

PHOTOGRAPHS = "s3://bucket/photos"


def account(project: str = "dog-breeds") -> Account:
    return Account(Settings(project=project, account="123456789012", region="eu-central-1"))


def analysis(form: str = "jpeg") -> Request:
    return clarify_requests.analysis(account(), model="why", classes=["Akita", "Briard"], form=form)


@pytest.mark.parametrize("form", clarify_requests.FORMATS)
def test_clarifys_own_sdk_takes_the_configuration(form: str) -> None:
    assert ANALYSIS_CONFIG_SCHEMA_V1_0.validate(analysis(form)) == analysis(form)


@pytest.mark.parametrize("region", sorted(ACCOUNTS))
def test_each_regions_image_is_the_sdks(region: str) -> None:
    assert clarify_image(region) == retrieve("clarify", region, version="1.0")


def test_a_region_that_is_not_known_says_how_to_name_the_image() -> None:
    with pytest.raises(SettingsError, match=r"in mx-central-1 is not known here: --clarify-image names it"):
        clarify_image("mx-central-1")


@pytest.mark.parametrize("project", ["dog-breeds", "d" * 22, "d" * 24])
def test_the_name_of_its_endpoint_begins_so_that_the_platform_takes_it(project: str) -> None:
    prefix = clarify_requests.endpoint_prefix(account(project))

    assert len(prefix) <= 23
    assert prefix.startswith(project[:23])
    assert not prefix.endswith("-")


def test_the_endpoint_that_clarify_starts_is_counted_for_as_long_as_the_job_may_run() -> None:
    job = clarify_requests.processing_job(
        account(), name="why", image=clarify_image("eu-central-1"), photographs=PHOTOGRAPHS
    )
    configuration = clarify_requests.upload(account(), name="why", content=analysis())
    table = prices.read()

    endpoint, machine = costs.of([("PutObject", configuration), ("CreateProcessingJob", job)], table)

    assert endpoint.at_most == pytest.approx(2 * table.instance_hours["ml.m5.large"])
    assert machine.at_most == pytest.approx(2 * table.instance_hours["ml.m5.xlarge"], rel=0.02)  # and a disk
    assert costs.of([("PutObject", {"Bucket": "b", "Key": "other.json", "Body": ""})], table) == []


def test_photographs_have_the_names_that_they_have_below_their_common_folder(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "b/c/2.JPEG"):
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.touch()

    found = clarify_files.photographs([str(tmp_path / "a/1.jpg"), str(tmp_path / "b")], "jpeg")

    assert found == {name: tmp_path / name for name in ("a/1.jpg", "b/c/2.JPEG")}


@pytest.mark.parametrize(
    ("name", "said"),
    [("a.png", "--format png explains those"), ("a.webp", "Clarify reads JPEG and PNG alone")],
)
def test_a_photograph_of_another_format_is_refused(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).touch()

    with pytest.raises(SettingsError, match=f"{name} is no JPEG, and a job takes one format: {said}"):
        clarify_files.photographs([str(tmp_path)], "jpeg")


def test_one_file_of_an_archive_is_read_and_no_more_than_that(tmp_path: Path) -> None:
    for name, content in {"artifact.json": b"{}", "weights.bin": b"\0" * 2_000_000}.items():
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / name).write_bytes(content)
    archives.pack(tmp_path / "model", tmp_path / "model.tar.gz")
    whole = (tmp_path / "model.tar.gz").read_bytes()

    assert archives.read(io.BytesIO(whole), "artifact.json") == b"{}"
    with pytest.raises(WorkFailed, match=r"there is no missing\.json"):
        archives.read(io.BytesIO(whole), "missing.json")
    for broken in (b"no archive", whole[:100]):
        with pytest.raises(WorkFailed, match="is not a whole one"):
            archives.read(io.BytesIO(broken), "artifact.json")
