"""What SageMaker Clarify is to do with photographs, and the request of its job, built by pure functions.

Called by `explain.py`. Clarify starts an endpoint of its own with the model, hides segments of each
photograph behind noise, many times over, asks the endpoint each time, and works out what each segment does
for each breed (KernelSHAP). Sources: "Analysis Configuration Files", "Image data requirements" and "Configure
a SageMaker Clarify Processing Job" of AWS's documentation.
"""

import json
from collections.abc import Sequence

from launcher.account import Account
from launcher.requests import Request, disk_key, given, validate

FORMATS = {"jpeg": ("image/jpeg", {".jpg", ".jpeg"}), "png": ("image/png", {".png"})}
ANALYSIS = "analysis_config.json"
LOCAL = "/opt/ml/processing"
VOLUME_GB = 20
EXPLAIN, PREFIX_LENGTH = "explain", 23  # of the name of the endpoint that Clarify makes, at most
SEED = 1  # the same job says the same


def endpoint_prefix(account: Account) -> str:
    """Return how the name of Clarify's own endpoint begins, by which its role may make it."""
    return account.named(EXPLAIN)[:PREFIX_LENGTH].rstrip("-")


def analysis(account: Account, *, model: str, classes: Sequence[str], form: str) -> Request:
    """Build Clarify's analysis_config.json for a model and the names of its classes, in their order.

    Each picture is a request of its own; docs/http.md has the answer.
    """
    settings = account.settings
    image = {"model_type": "IMAGE_CLASSIFICATION", "num_segments": settings.explain.segments}
    shap = {"num_samples": settings.explain.samples, "seed": SEED, "image_config": image}
    return {
        "dataset_type": "application/x-image",
        "methods": {
            "shap": shap,
            "report": {"name": "report", "title": f"Why that breed: {model}"},
        },
        "predictor": {
            "model_name": model,
            "initial_instance_count": 1,
            "instance_type": settings.endpoint.instance_type,
            "endpoint_name_prefix": endpoint_prefix(account),
            "content_type": FORMATS[form][0],
            "accept_type": "application/json",
            "custom_attributes": "probabilities=true,top_k=1",
            "probability": "predictions[0].probabilities",
            "label_headers": list(classes),
        },
    }


def upload(account: Account, *, name: str, content: Request) -> Request:
    """Build the PutObject request that brings a job's analysis_config.json to the bucket."""
    key = account.settings.storage.kms_key
    encryption = given(ServerSideEncryption="aws:kms" if key else "", SSEKMSKeyId=key)
    body = json.dumps(content, ensure_ascii=False)
    return {
        "Bucket": account.bucket,
        "Key": f"explanations/{name}/{ANALYSIS}",
        "Body": body,
    } | encryption


def processing_job(account: Account, *, name: str, image: str, photographs: str) -> Request:
    """Build the CreateProcessingJob request; results come to explanations/<name>/result of the bucket.

    Raises SettingsError for one that the API would not take.
    """
    settings = account.settings
    cluster = {
        "InstanceCount": 1,
        "InstanceType": settings.explain.instance_type,
        "VolumeSizeInGB": VOLUME_GB,
    } | given(VolumeKmsKeyId=disk_key(settings.explain.instance_type, settings.storage.kms_key))
    result = {
        "S3Uri": account.uri("explanations", name, "result"),
        "LocalPath": f"{LOCAL}/output",
        "S3UploadMode": "EndOfJob",
    }
    request = {
        "ProcessingJobName": name,
        "AppSpecification": {"ImageUri": image},
        "ProcessingInputs": [
            _input("analysis_config", account.uri("explanations", name, ANALYSIS), "config"),
            _input("dataset", photographs, "data"),
        ],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "analysis_result", "S3Output": result}]}
        | given(KmsKeyId=settings.storage.kms_key),
        "ProcessingResources": {"ClusterConfig": cluster},
        # It asks its endpoint, so it needs a network, whatever the model has.
        "NetworkConfig": {"EnableNetworkIsolation": False} | given(VpcConfig=account.vpc),
        "StoppingCondition": {"MaxRuntimeInSeconds": settings.explain.max_runtime_seconds},
        "RoleArn": account.role,
        "Tags": account.tags,
    }
    return validate("CreateProcessingJob", request)


def _input(name: str, uri: str, folder: str) -> Request:
    place = {"S3Uri": uri, "LocalPath": f"{LOCAL}/input/{folder}"}
    return {"InputName": name, "S3Input": place | {"S3DataType": "S3Prefix", "S3InputMode": "File"}}
