"""The project's bucket: private, encrypted, versioned, and reached over TLS alone.

Called by `account_setup`, and by `setup_things` when it is taken away.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from launcher import aws, policies
from launcher.account import Account
from launcher.calls import Call
from launcher.desired import Part, Resource, tag_map
from launcher.errors import WorkFailed
from launcher.requests import Request

PRIVATE = dict.fromkeys(
    ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
)
RULES = [
    {  # what an upload that was given up has sent already costs, and is shown nowhere
        "ID": "uploads-given-up",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    },
    {  # a month to take back a mistake
        "ID": "old-versions",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
        "Expiration": {"ExpiredObjectDeleteMarker": True},
    },
]


def wanted(account: Account) -> Resource:
    """Return what the bucket is to be."""
    return Resource(f"bucket {account.bucket}", _is_there(account), _tags(account), tuple(_parts(account)))


def _call(account: Account, operation: str, **request: Any) -> Call:
    return Call("s3", operation, {"Bucket": account.bucket, **request})


def _is_there(account: Account) -> Part:
    place: Request = {"Tags": account.tags}  # at once, so that a set-up that is interrupted knows it again
    if account.region != "us-east-1":  # S3's first region is the one that must not be named
        place["LocationConstraint"] = account.region
    return Part(
        "bucket",
        look=_call(account, "HeadBucket"),
        found=lambda _: True,
        wanted=True,
        make=_call(account, "CreateBucket", CreateBucketConfiguration=place),
        absent=("404",),
    )


def _tags(account: Account) -> Part:
    own = tag_map(account.tags)

    def put(tags: Mapping[str, str]) -> Call:
        pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
        return _call(account, "PutBucketTagging", Tagging={"TagSet": pairs})

    return Part(
        "tags",
        look=_call(account, "GetBucketTagging"),
        found=lambda answer: tag_map(answer["TagSet"]),
        wanted=own,
        make=put(own),
        absent=("NoSuchTagSet",),
        mend=lambda found: put(found | own),  # the call replaces all tags
    )


def _parts(account: Account) -> list[Part]:
    key = account.settings.storage.kms_key
    by_default: Request = (
        {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key} if key else {"SSEAlgorithm": "AES256"}
    )
    encryption = {
        "Rules": [{"ApplyServerSideEncryptionByDefault": by_default, "BucketKeyEnabled": bool(key)}]
    }
    policy = policies.only_over_tls(account)
    return [
        Part(
            "public access block",
            look=_call(account, "GetPublicAccessBlock"),
            found=lambda answer: answer["PublicAccessBlockConfiguration"],
            wanted=PRIVATE,
            make=_call(account, "PutPublicAccessBlock", PublicAccessBlockConfiguration=PRIVATE),
            absent=("NoSuchPublicAccessBlockConfiguration",),
        ),
        Part(
            "encryption",
            look=_call(account, "GetBucketEncryption"),
            found=lambda answer: answer["ServerSideEncryptionConfiguration"],
            wanted=encryption,
            make=_call(account, "PutBucketEncryption", ServerSideEncryptionConfiguration=encryption),
            absent=("ServerSideEncryptionConfigurationNotFoundError",),
        ),
        Part(
            "versioning",
            look=_call(account, "GetBucketVersioning"),
            found=lambda answer: answer.get("Status"),
            wanted="Enabled",
            make=_call(account, "PutBucketVersioning", VersioningConfiguration={"Status": "Enabled"}),
        ),
        Part(
            "lifecycle",
            look=_call(account, "GetBucketLifecycleConfiguration"),
            found=lambda answer: answer["Rules"],
            wanted=RULES,
            make=_call(account, "PutBucketLifecycleConfiguration", LifecycleConfiguration={"Rules": RULES}),
            absent=("NoSuchLifecycleConfiguration",),
        ),
        Part(
            "policy",
            look=_call(account, "GetBucketPolicy"),
            found=lambda answer: json.loads(answer["Policy"]),
            wanted=policy,
            make=_call(account, "PutBucketPolicy", Policy=json.dumps(policy)),
            absent=("NoSuchBucketPolicy",),
        ),
    ]


def has_files(account: Account) -> bool:
    """Tell whether anything is in the bucket, versions that are no longer shown among it."""
    with aws.explained():
        return any(_versions(account))


def empty(account: Account) -> None:
    """Delete every version of every file, and what uploads that broke off have sent."""
    s3 = account.client("s3")
    with aws.explained():
        for some in _versions(account):
            answer = s3.delete_objects(Bucket=account.bucket, Delete={"Objects": some, "Quiet": True})
            for each in answer.get("Errors", []):
                raise WorkFailed(f"{each['Key']} cannot be deleted ({each['Code']}): {each['Message']}")
        pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=account.bucket)
        for upload in [each for page in pages for each in page.get("Uploads", [])]:
            s3.abort_multipart_upload(Bucket=account.bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def _versions(account: Account) -> Iterator[list[dict[str, str]]]:
    """Yield the versions of all files, a page at a time, with the marks that say that one was deleted."""
    for page in account.client("s3").get_paginator("list_object_versions").paginate(Bucket=account.bucket):
        if found := [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            yield [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]
