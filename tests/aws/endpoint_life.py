"""The life of SageMaker's endpoints, which moto has none of: they take time, fail, are rolled back.

Also what goes with a scalable target that is deregistered, and asynchronous invocations.
"""

import time
import uuid
from typing import Any

import boto3
import httpx
from cloud import Answer, Call, Cloud, error
from moto.applicationautoscaling.models import applicationautoscaling_backends
from moto.sagemaker.models import FakeEndpoint, SageMakerModelBackend, sagemaker_backends

ACCOUNT = "123456789012"


class EndpointLife:
    """Answers for the endpoints of an account.

    `course` are the statuses that the next change goes through, the last one for good; `reason` is why it
    fails. Without a course a change takes one look, and succeeds.
    """

    def __init__(self, cloud: Cloud, region: str) -> None:
        self.course: list[str] = []
        self.reason = ""
        self._cloud = cloud
        self._region = region
        self._ahead: dict[str, list[str]] = {}
        self._wanted: dict[str, str] = {}  # the configuration that an endpoint is being updated to
        cloud.replies |= {
            "sagemaker:CreateEndpoint": self._create,
            "sagemaker:UpdateEndpoint": self._update,
            "sagemaker:DescribeEndpoint": self._describe,
            "sagemaker:InvokeEndpointAsync": self._invoke_later,
            "application-autoscaling:DeregisterScalableTarget": self._deregister,
        }
        cloud.edits["sagemaker:DescribeEndpoint"] = self._with_pending

    @property
    def moto(self) -> SageMakerModelBackend:
        """What moto knows."""
        return sagemaker_backends[ACCOUNT][self._region]

    def _endpoint(self, call: Call) -> FakeEndpoint | None:
        return self.moto.endpoints.get(call.parameters["EndpointName"])

    def _create(self, call: Call) -> Answer | None:
        name = call.parameters["EndpointName"]
        if name in self.moto.endpoints:
            return error("ValidationException", f'Cannot create already existing endpoint "{name}".')
        self._ahead[name] = self.course or ["Creating", "InService"]
        self.course = []
        return None

    def _update(self, call: Call) -> Answer | None:
        endpoint, wanted = self._endpoint(call), call.parameters["EndpointConfigName"]
        if endpoint is None:
            return error("ValidationException", "Could not find endpoint.")
        if endpoint.endpoint_status != "InService":
            return error("ValidationException", "Cannot update in-progress endpoint.")
        if scaled := self._scaled_otherwise(endpoint, wanted):
            return error("ValidationException", f"The variants {scaled} are registered with AutoScaling.")
        name = endpoint.endpoint_name
        self._wanted[name] = wanted
        self._ahead[name] = self.course or ["Updating", "InService"]
        self.course = []
        endpoint.endpoint_status = "Updating"
        return Answer({"EndpointArn": endpoint.arn})

    def _scaled_otherwise(self, endpoint: FakeEndpoint, wanted: str) -> list[str]:
        """Variants that are scaled, and that the update would give another instance type, or none."""
        before, after = self._types(endpoint.endpoint_config_name), self._types(wanted)
        targets = applicationautoscaling_backends[ACCOUNT][self._region].targets.values()
        scaled = {
            resource.split("/")[3]
            for each in targets
            for resource in each
            if endpoint.endpoint_name in resource
        }
        return sorted(name for name in scaled if before.get(name) != after.get(name))

    def _types(self, config: str) -> dict[str, str]:
        variants = self.moto.endpoint_configs[config].production_variants
        return {each["VariantName"]: each.get("InstanceType", "") for each in variants}

    def _describe(self, call: Call) -> Answer | None:
        """Take the next step of the course, and let moto say what there is."""
        endpoint = self._endpoint(call)
        if endpoint is None:
            return None
        ahead = self._ahead[endpoint.endpoint_name]
        endpoint.endpoint_status = ahead.pop(0) if len(ahead) > 1 else ahead[0]
        if endpoint.endpoint_status in {"RollingBack", "Failed"}:
            endpoint.failure_reason = self.reason
            self._wanted.pop(endpoint.endpoint_name, None)
        if endpoint.endpoint_status == "InService" and (
            wanted := self._wanted.pop(endpoint.endpoint_name, "")
        ):
            endpoint.endpoint_config_name = wanted
            variants = self.moto.endpoint_configs[wanted].production_variants
            endpoint.production_variants = endpoint._process_production_variants(variants)
        return None

    def _with_pending(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Say what the endpoint is being updated to, as long as it is."""
        wanted = self._wanted.get(answer["EndpointName"])
        pending = {"PendingDeploymentSummary": {"EndpointConfigName": wanted, "StartTime": time.time()}}
        return answer | (pending if wanted else {})

    def _deregister(self, call: Call) -> None:
        """With a target go its policies and scheduled actions."""
        backend, resource = (
            applicationautoscaling_backends[ACCOUNT][self._region],
            call.parameters["ResourceId"],
        )
        backend.policies = {
            key: each for key, each in backend.policies.items() if each.resource_id != resource
        }
        backend.scheduled_actions = [
            each for each in backend.scheduled_actions if each.resource_id != resource
        ]

    def _invoke_later(self, call: Call) -> Answer:
        """Ask the endpoint at once, and put what it answers where the configuration has it."""
        name = call.path.split("/")[2]
        config = self.moto.endpoint_configs[self.moto.endpoints[name].endpoint_config_name]
        places: dict[str, Any] = config.async_inference_config["OutputConfig"]
        headers = {key: call.headers[key] for key in ("accept", "content-type") if key in call.headers}
        headers["content-type"] = call.headers.get(
            "x-amzn-sagemaker-content-type", headers.get("content-type", "")
        )
        answer = httpx.post(
            f"{self._cloud.endpoints[name]}/invocations",
            content=_object(call.headers["x-amzn-sagemaker-inputlocation"]),
            headers=headers,
        )
        output, failure = (f"{places[key]}/{uuid.uuid4()}.out" for key in ("S3OutputPath", "S3FailurePath"))
        bucket, _, key = (output if answer.is_success else failure).removeprefix("s3://").partition("/")
        boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=answer.content)
        return Answer(
            {"InferenceId": "id"},
            202,
            {"X-Amzn-SageMaker-OutputLocation": output, "X-Amzn-SageMaker-FailureLocation": failure},
        )


def _object(uri: str) -> bytes:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bytes(boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
