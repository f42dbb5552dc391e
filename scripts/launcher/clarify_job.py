"""A SageMaker Clarify job, and the endpoint that it starts for itself. Called by `explain.py`."""

from typing import Any

from launcher import aws, aws_job
from launcher.account import Account
from launcher.aws_model_job import AwsModelJob
from launcher.clarify_requests import endpoint_prefix


class ClarifyJob(AwsModelJob):
    """One job of the account; of one that did not succeed it is said which endpoint may still be there."""

    def __init__(self, name: str, account: Account) -> None:
        super().__init__(aws_job.PROCESSING, name, account, with_log=True)

    def _why(self, description: dict[str, Any]) -> list[str]:
        left = [
            f"Clarify's endpoint {name} is there, and costs: unless another job asks it, "
            f"`aws sagemaker delete-endpoint --endpoint-name {name}` ends it"
            for name in self._endpoints()
        ]
        return [*super()._why(description), *left]

    def _endpoints(self) -> list[str]:
        prefix = endpoint_prefix(self.account)
        pages = self.sagemaker.get_paginator("list_endpoints").paginate(NameContains=prefix)
        with aws.explained():
            found = [each for page in pages for each in page["Endpoints"]]
        return [
            each["EndpointName"]
            for each in found
            if each["EndpointName"].startswith(prefix) and each["EndpointStatus"] != "Deleting"
        ]
