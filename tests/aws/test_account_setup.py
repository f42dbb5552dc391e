"""setup_account.py: what it makes in an empty account, mends, leaves alone, and takes away again."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
import script
from cloud import Answer, Cloud, CutError, error, times

BUCKET = "dog-breeds-123456789012-eu-central-1"
ROLE = "dog-breeds-execution"
IMAGES = ["dog-breeds-train", "dog-breeds-serve"]


def set_up(*arguments: object) -> script.Ended:
    return script.run("setup_account", *map(str, arguments))


def written(folder: Path, text: str) -> Path:
    settings = folder / "settings.toml"
    settings.write_text(text)
    return settings


def lines(*endings: str) -> str:
    names = [f"bucket {BUCKET}", *(f"repository {image}" for image in IMAGES), f"role {ROLE}"]
    return "".join(f"{name}: {ending}\n" for name, ending in zip(names, endings, strict=True))


@pytest.mark.usefixtures("cloud")
def test_what_is_made_is_private_encrypted_versioned_tagged_and_reached_over_tls_alone() -> None:
    made = set_up()

    assert (made.returncode, made.stdout) == (0, lines("made", "made", "made", "made")), made.stderr
    s3 = boto3.client("s3")
    assert all(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values())
    (rule,) = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    rules = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert rules[0]["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 7
    assert rules[1]["NoncurrentVersionExpiration"]["NoncurrentDays"] == 30
    (statement,) = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Condition"]) == (
        "Deny",
        {"Bool": {"aws:SecureTransport": "false"}},
    )
    tag = {"Key": "project", "Value": "dog-breeds"}
    assert s3.get_bucket_tagging(Bucket=BUCKET)["TagSet"] == [tag]
    for repository in boto3.client("ecr").describe_repositories(repositoryNames=IMAGES)["repositories"]:
        assert repository["imageTagMutability"] == "IMMUTABLE"
        assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    role = boto3.client("iam").get_role(RoleName=ROLE)["Role"]
    (trusted,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trusted["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert trusted["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    assert role["Tags"] == [tag]


def test_a_second_time_nothing_is_changed(cloud: Cloud) -> None:
    set_up()
    before = len(cloud.calls)

    again = set_up()

    assert (again.returncode, again.stdout) == (0, lines(*["is there"] * 4)), again.stderr
    asked = {call.operation for call in cloud.calls[before:]}
    assert not {operation for operation in asked if operation.startswith(("Put", "Create", "Update", "Tag"))}


def test_drift_is_mended_and_what_others_added_is_kept(cloud: Cloud) -> None:
    set_up()
    s3, ecr, iam = (boto3.client(service) for service in ("s3", "ecr", "iam"))
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})
    s3.delete_bucket_policy(Bucket=BUCKET)
    tags = [{"Key": "project", "Value": "dog-breeds"}, {"Key": "cost-centre", "Value": "7"}]
    s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": tags})
    ecr.put_image_tag_mutability(repositoryName=IMAGES[1], imageTagMutability="MUTABLE")
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
    iam.put_role_policy(RoleName=ROLE, PolicyName="execution", PolicyDocument=document)

    mended = set_up()

    expected = lines("mended versioning, policy", "is there", "mended immutable tags", "mended policy")
    assert (mended.returncode, mended.stdout) == (0, expected), mended.stderr
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    assert s3.get_bucket_tagging(Bucket=BUCKET)["TagSet"] == tags
    policy = iam.get_role_policy(RoleName=ROLE, PolicyName="execution")["PolicyDocument"]
    assert all(statement["Action"] != "*" for statement in policy["Statement"])
    assert set_up().stdout == lines(*["is there"] * 4)


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("what", ["bucket", "role"])
def test_what_somebody_else_has_under_the_name_is_left_alone(what: str) -> None:
    place = {"LocationConstraint": "eu-central-1"}
    if what == "bucket":
        boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
    else:
        boto3.client("iam").create_role(RoleName=ROLE, AssumeRolePolicyDocument="{}")

    refused = set_up()

    assert refused.returncode == 2
    assert "is there, and does not carry the tag project=dog-breeds: it is somebody's" in refused.stderr
    if what == "bucket":
        assert "Status" not in boto3.client("s3").get_bucket_versioning(Bucket=BUCKET)
    else:
        assert not boto3.client("iam").list_role_policies(RoleName=ROLE)["PolicyNames"]


def test_a_bucket_of_another_account_has_its_name(cloud: Cloud) -> None:
    forbidden = Answer(b"", 403, {"Content-Type": "application/xml"})
    cloud.replies["s3:ListBucket"] = lambda _: forbidden

    refused = set_up()

    assert refused.returncode == 2
    assert "may not do HeadBucket: its policy does not allow it, or" in refused.stderr
    assert "is another account's" in refused.stderr


@pytest.mark.parametrize(
    "asked",
    ["setup_account", "setup_account --delete", "teardown --yes", "deploy --backend aws --delete all"],
)
def test_credentials_of_another_account_than_the_settings_touch_neither(
    cloud: Cloud, tmp_path: Path, asked: str
) -> None:
    name, *arguments = asked.split()
    settings = written(tmp_path, 'account = "210987654321"\n')

    refused = script.run(name, *arguments, "--settings", str(settings))

    assert refused.returncode == 2
    assert "are of account 123456789012, and the settings name 210987654321" in refused.stderr
    assert set(cloud.actions) == {"sts:GetCallerIdentity"}


def test_a_key_and_a_role_of_the_settings_are_used(cloud: Cloud, tmp_path: Path) -> None:
    role = "arn:aws:iam::123456789012:role/given"
    settings = written(
        tmp_path, f'[storage]\nbucket = "mine"\nkms-key = "alias/dogs"\n[access]\nrole = "{role}"\n'
    )

    made = set_up("--settings", settings)

    assert made.returncode == 0, made.stderr
    assert f"role {role}: is left as it is" in made.stdout
    assert "iam:CreateRole" not in cloud.actions
    (rule,) = boto3.client("s3").get_bucket_encryption(Bucket="mine")["ServerSideEncryptionConfiguration"][
        "Rules"
    ]
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == "alias/dogs"
    assert rule["BucketKeyEnabled"]


def test_a_set_up_that_broke_off_is_gone_on_with(cloud: Cloud) -> None:
    cloud.replies["ecr:CreateRepository"] = times(1, error("AccessDeniedException"))
    broke_off = set_up()

    again = set_up()

    assert broke_off.returncode == 2
    assert (again.returncode, again.stdout) == (0, lines("is there", "made", "made", "made"))


def test_throttling_and_a_cut_connection_are_waited_out(cloud: Cloud) -> None:
    cloud.replies |= {
        "ecr:CreateRepository": times(2, error("ThrottlingException")),
        "ecr:PutLifecyclePolicy": times(1, CutError),
    }

    assert set_up().stdout == lines("made", "made", "made", "made")


@pytest.mark.usefixtures("cloud")
def test_it_is_taken_away_again_and_a_bucket_with_files_is_not() -> None:
    set_up()
    s3 = boto3.client("s3")
    s3.put_object(Bucket=BUCKET, Key="model", Body=b"1")

    refused = set_up("--delete")
    s3.delete_object(Bucket=BUCKET, Key="model")
    still = set_up("--delete")  # its older version is there
    versions = s3.list_object_versions(Bucket=BUCKET)
    for each in [*versions["Versions"], *versions["DeleteMarkers"]]:
        s3.delete_object(Bucket=BUCKET, Key="model", VersionId=each["VersionId"])
    done = set_up("--delete")

    assert (refused.returncode, still.returncode) == (2, 2)
    assert "there are files in the bucket" in refused.stderr and "teardown.py" in still.stderr
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("nothing is left in account 123456789012, eu-central-1\n")
    assert not s3.list_buckets()["Buckets"] and not boto3.client("iam").list_roles()["Roles"]


def test_what_uses_it_keeps_it(cloud: Cloud) -> None:
    set_up()
    container: dict[str, Any] = {"Image": "x"}
    tags = [{"Key": "project", "Value": "dog-breeds"}]
    role = f"arn:aws:iam::123456789012:role/{ROLE}"
    boto3.client("sagemaker").create_model(
        ModelName="dogs", PrimaryContainer=container, ExecutionRoleArn=role, Tags=tags
    )

    refused = set_up("--delete")

    assert refused.returncode == 2
    assert "  model dogs\n" in refused.stderr
    assert "iam:DeleteRole" not in cloud.actions
