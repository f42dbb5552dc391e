"""A SageMaker Clarify job, and the endpoint that it starts for itself. Called by `explain.py`."""

from launcher import aws, aws_job
from launcher.account import Account
from launcher.aws_model_job import AwsModelJob
from launcher.clarify_requests import endpoint_prefix
from launcher.errors import SettingsError, WorkFailed


class ClarifyJob(AwsModelJob):
    """One job of the account; of one that did not succeed it is said which endpoint may still be there."""

    def __init__(self, name: str, account: Account) -> None:
        super().__init__(aws_job.PROCESSING, name, account, with_log=True)

    def _left(self) -> list[str]:
        return [*super()._left(), *self._endpoints_left()]

    def _may_be_left(self) -> list[str]:
        prefix = endpoint_prefix(self.account)
        shows = f"`aws sagemaker list-endpoints --name-contains {prefix}` shows it"
        return [*super()._may_be_left(), f"Clarify's endpoint {prefix}… may be left, which costs: {shows}"]

    def _endpoints_left(self) -> list[str]:
        try:
            return [
                f"Clarify's endpoint {name} is there, and costs: unless another job asks it, "
                f"`aws sagemaker delete-endpoint --endpoint-name {name}` ends it"
                for name in self._endpoints()
            ]
        except (SettingsError, WorkFailed) as error:  # why the job has failed is to be said all the same
            prefix = endpoint_prefix(self.account)
            return [f"whether Clarify's endpoint {prefix}… is left, which costs, is not known: {error}"]

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
