"""The request of a batch transform job, built by a pure function exactly as boto3 takes it.

Called by `batch_transform.py`; `batch` carries it out here, `aws_transform` on SageMaker.
"""

from collections.abc import Sequence

from launcher.requests import Request, disk_key, given, validate

INSTANCE = "ml.m5.large"
PICTURE = "application/x-image"  # any format, told by its content
# What the platform multiplies must not exceed 100 MB, and by itself it takes as many requests as there are
# workers, which a large instance has more of.
PAYLOAD_MB, CONCURRENCY = 20, 4


def transform_job(
    *,
    name: str,
    source: str,
    output: str,
    accept: str,
    instance_type: str = INSTANCE,
    instances: int = 1,
    kms_key: str = "",
    tags: Sequence[Request] = (),
) -> Request:
    """Build a CreateTransformJob request for the model of the job's own name.

    One picture is a request; below `output` there is a `.out` for each.

    Raises SettingsError for one that the API would not take.
    """
    request = {
        "TransformJobName": name,
        "ModelName": name,
        "MaxConcurrentTransforms": CONCURRENCY,
        "MaxPayloadInMB": PAYLOAD_MB,
        "BatchStrategy": "SingleRecord",
        "ModelClientConfig": {"InvocationsTimeoutInSeconds": 60, "InvocationsMaxRetries": 3},
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": source}},
            "ContentType": PICTURE,
            "CompressionType": "None",
            "SplitType": "None",
        },
        "TransformOutput": {"S3OutputPath": output, "Accept": accept, "AssembleWith": "None"}
        | given(KmsKeyId=kms_key),
        "TransformResources": {"InstanceType": instance_type, "InstanceCount": instances}
        | given(VolumeKmsKeyId=disk_key(instance_type, kms_key)),
    }
    return validate("CreateTransformJob", request | given(Tags=list(tags)))
