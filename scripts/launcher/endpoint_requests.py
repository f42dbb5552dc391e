"""The requests that an endpoint is made of, built by pure functions exactly as boto3 takes them.

Called by `deployment` for SageMaker, and for an endpoint on this machine by deploy.py and `demonstration`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher import jobs, requests
from launcher.requests import LOCAL_ROLE, Request, given

ONLY_VARIANT = "AllTraffic"  # the name that the platform's own tools give an endpoint's only variant
STARTUP_SECONDS = 480
MAX_TRAFFIC_SECONDS = 28_800  # of an update, the platform's own limit


def model(
    *,
    name: str,
    image: str,
    model_data: str,
    role: str = LOCAL_ROLE,
    environment: Mapping[str, str] | None = None,
    several: bool = False,
    isolation: bool = True,
    vpc: Request | None = None,
    tags: Sequence[Request] = (),
) -> Request:
    """Build a CreateModel request.

    `model_data` is the URI of a model.tar.gz, or with `several` of the prefix below which the archives of a
    multi-model endpoint lie.
    """
    container = {"Image": image, "ModelDataUrl": model_data, "Environment": dict(environment or {})}
    if several:
        container["Mode"] = "MultiModel"
    request = {
        "ModelName": name,
        "PrimaryContainer": container,
        "ExecutionRoleArn": role,
        "EnableNetworkIsolation": isolation,
    }
    return request | given(VpcConfig=vpc, Tags=list(tags))


def variant(
    *,
    name: str = ONLY_VARIANT,
    model_name: str,
    weight: float | None = None,
    instance_type: str = "ml.m5.large",
    instances: int = 1,
    startup_seconds: int = STARTUP_SECONDS,
) -> Request:
    """Build a variant on instances that are healthy within `startup_seconds`, or it fails."""
    request = {
        "VariantName": name,
        "ModelName": model_name,
        "InitialInstanceCount": instances,
        "InstanceType": instance_type,
        "ContainerStartupHealthCheckTimeoutInSeconds": startup_seconds,
    }
    return request | ({} if weight is None else {"InitialVariantWeight": weight})


def serverless_variant(*, model_name: str, memory_mb: int, concurrency: int) -> Request:
    """Build the only variant of a serverless endpoint, which is started with the first request."""
    limits = {"MemorySizeInMB": memory_mb, "MaxConcurrency": concurrency}
    return {"VariantName": ONLY_VARIANT, "ModelName": model_name, "ServerlessConfig": limits}


def endpoint_config(
    *,
    name: str,
    variants: Sequence[Request],
    shadows: Sequence[Request] = (),
    capture: Request | None = None,
    queue: Request | None = None,
    kms_key: str = "",
    tags: Sequence[Request] = (),
) -> Request:
    """Build a CreateEndpointConfig request; `queue` makes the endpoint an asynchronous one."""
    request = {"EndpointConfigName": name, "ProductionVariants": list(variants)}
    return request | given(
        ShadowProductionVariants=list(shadows),
        DataCaptureConfig=capture,
        AsyncInferenceConfig=queue,
        KmsKeyId=kms_key,
        Tags=list(tags),
    )


def models_of(config: Request) -> list[str]:
    """Return the names of the models that a configuration serves, its shadows' among them."""
    kinds = ("ProductionVariants", "ShadowProductionVariants")
    return [each["ModelName"] for kind in kinds for each in config.get(kind, []) if "ModelName" in each]


def capture(*, percent: int, uri: str, kms_key: str = "") -> Request:
    """Build what keeps a share of the requests with their answers below `uri`.

    Answers in JSON are kept as text, the photographs in base64.
    """
    request = {
        "EnableCapture": True,
        "InitialSamplingPercentage": percent,
        "DestinationS3Uri": uri,
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
    }
    return request | given(KmsKeyId=kms_key)


def queue(
    *,
    output: str,
    failures: str,
    concurrency: int,
    success_topic: str = "",
    error_topic: str = "",
    kms_key: str = "",
) -> Request:
    """Build what makes an endpoint asynchronous: where its answers and its errors go, and who is told.

    `concurrency` is how many requests an instance gets at a time.
    """
    topics = given(SuccessTopic=success_topic, ErrorTopic=error_topic)
    places = {"S3OutputPath": output, "S3FailurePath": failures}
    return {
        "ClientConfig": {"MaxConcurrentInvocationsPerInstance": concurrency},
        "OutputConfig": places | given(NotificationConfig=topics, KmsKeyId=kms_key),
    }


def endpoint(
    *, name: str, config_name: str, deployment: Request | None = None, tags: Sequence[Request] = ()
) -> Request:
    """Build a CreateEndpoint request."""
    request = {"EndpointName": name, "EndpointConfigName": config_name}
    return request | given(DeploymentConfig=deployment, Tags=list(tags))


def update(
    *, name: str, config_name: str, deployment: Request | None = None, scaled: bool = False
) -> Request:
    """Build an UpdateEndpoint request; a `scaled` endpoint keeps the instances that it has by now."""
    request: Request = {"EndpointName": name, "EndpointConfigName": config_name}
    if scaled:
        stated = ("DesiredWeight", "DataCaptureConfig")  # by the configuration, as ever
        request |= {
            "RetainAllVariantProperties": True,
            "ExcludeRetainedVariantProperties": [{"VariantPropertyType": each} for each in stated],
        }
    return request | given(DeploymentConfig=deployment)


def traffic_shift(
    *,
    canary: int | None = None,
    linear: int | None = None,
    wait_seconds: int,
    bake_seconds: int,
    startup_seconds: int,
    alarms: Sequence[str] = (),
) -> Request:
    """Build how traffic goes from the old instances to new ones: some percent first, or in steps of some.

    With neither it goes all at once. The old ones stay for `bake_seconds` more, and get the traffic back
    when one of the alarms goes off in the meantime.
    """
    routing: Request = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    steps = 0
    if canary:
        steps, size = 1, {"Type": "CAPACITY_PERCENT", "Value": canary}
        routing = {"Type": "CANARY", "WaitIntervalInSeconds": wait_seconds, "CanarySize": size}
    elif linear:
        steps, size = -(-100 // linear) - 1, {"Type": "CAPACITY_PERCENT", "Value": linear}
        routing = {"Type": "LINEAR", "WaitIntervalInSeconds": wait_seconds, "LinearStepSize": size}
    # Twice the start-up, since instances have to be found before anything starts on them.
    needed = steps * wait_seconds + bake_seconds + 2 * startup_seconds + 600
    policy = {
        "TrafficRoutingConfiguration": routing,
        "TerminationWaitInSeconds": bake_seconds,
        "MaximumExecutionTimeoutInSeconds": min(needed, MAX_TRAFFIC_SECONDS),
    }
    rollback = {"Alarms": [{"AlarmName": name} for name in alarms]} if alarms else None
    return {"BlueGreenUpdatePolicy": policy} | given(AutoRollbackConfiguration=rollback)


def on_this_machine(
    image: str, archive: Path, name: str | None = None, *, environment: Mapping[str, str] | None = None
) -> tuple[Request, Request, Request]:
    """Return the requests that make a model, a configuration and an endpoint of one archive here."""
    name = name or jobs.new_name("dog-breeds-endpoint")
    variants = [variant(model_name=name)]
    data = archive.resolve().as_uri()
    return (
        requests.validate(
            "CreateModel", model(name=name, image=image, model_data=data, environment=environment)
        ),
        requests.validate("CreateEndpointConfig", endpoint_config(name=name, variants=variants)),
        requests.validate("CreateEndpoint", endpoint(name=name, config_name=name)),
    )
