"""Prices that are asked of AWS, and what a job and an endpoint of the account are charged for."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from cloud import Answer, Call, Cloud, error

from launcher import prices
from launcher.prices import DEFAULT_FILE

SCRIPT = Path(__file__).parents[2] / "scripts/costs.py"


def costs(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def product(component: str, dollars: str, unit: str = "Hrs") -> str:
    rate = {"unit": unit, "pricePerUnit": {"USD": dollars}}
    return json.dumps(
        {
            "product": {"attributes": {"instanceName": "any", "component": component}},
            "terms": {"OnDemand": {"term": {"priceDimensions": {"rate": rate}}}},
        }
    )


def listed(*products: str, of: str) -> Any:
    """Reply with products for one instance type, and with none for the others."""

    def reply(call: Call) -> Answer:
        asked = {each["Field"]: each["Value"] for each in call.parameters["Filters"]}
        assert asked["regionCode"] == "eu-central-1"
        return Answer({"PriceList": list(products) if asked["instanceName"] == of else []})

    return reply


PRODUCTS = (
    product("Training", "0.81"),
    product("Batch Transform", "0.83"),
    product("Studio-Notebook", "0.99"),  # not what the project uses
    product("Hosting", "9.99", unit="GB"),
)


def test_the_table_is_refreshed_from_the_price_list_and_keeps_its_comments(
    cloud: Cloud, tmp_path: Path
) -> None:
    cloud.replies["pricing:GetProducts"] = listed(*PRODUCTS, of="ml.g6.xlarge")
    table = shutil.copy(DEFAULT_FILE, tmp_path / "prices.toml")

    done = costs("--refresh", "--prices", table, "--instance-type", "ml.g6.xlarge")

    assert done.returncode == 0, done.stderr
    found = prices.read(table)
    assert (found.region, found.instance_hours) == ("eu-central-1", {"ml.g6.xlarge": 0.83})
    assert found.source == "AWS's price list"
    assert "ml.m5.large is not in AWS's price list for eu-central-1" in done.stderr
    assert "# memory × the time that requests take" in table.read_text()


@pytest.mark.parametrize(
    ("reply", "code", "said"),
    [
        (listed(of="none"), 1, "AWS's price list has none of these in eu-central-1"),
        (
            lambda _: error("AccessDeniedException", "x is not authorized to perform: pricing:GetProducts"),
            2,
            "this AWS identity may not do pricing:GetProducts",
        ),
    ],
)
def test_a_list_that_gives_no_answer_leaves_the_table_as_it_was(
    cloud: Cloud, tmp_path: Path, reply: Any, code: int, said: str
) -> None:
    cloud.replies["pricing:GetProducts"] = reply
    table = shutil.copy(DEFAULT_FILE, tmp_path / "prices.toml")

    done = costs("--refresh", "--prices", table)

    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert table.read_bytes() == DEFAULT_FILE.read_bytes()


def test_a_price_of_the_tables_region_is_not_asked_for(cloud: Cloud) -> None:
    cloud.replies["pricing:GetProducts"] = listed(*PRODUCTS, of="ml.g4dn.xlarge")

    assert prices.known("ml.g4dn.xlarge", "us-east-1") == (0.7364, "")
    assert cloud.asked("pricing:GetProducts") == []
    assert prices.known("ml.g4dn.xlarge", "eu-central-1") == (0.83, "")
    nothing = "AWS's price list has no ml.none in eu-central-1"
    assert prices.known("ml.none", "eu-central-1") == (None, nothing)


def test_what_a_job_was_charged_and_what_spot_instances_saved(cloud: Cloud) -> None:
    job = {
        "TrainingJobName": "dogs",
        "TrainingJobStatus": "Completed",
        "TrainingTimeInSeconds": 4000,
        "BillableTimeInSeconds": 1200,
        "ResourceConfig": {"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 1},
    }
    cloud.replies["pricing:GetProducts"] = listed(*PRODUCTS, of="ml.g4dn.xlarge")
    cloud.replies["sagemaker:DescribeTrainingJob"] = lambda _: Answer(job)

    assert costs("--job", "dogs").stdout == (
        "dogs (Completed): ran 4,000 s, billed 1,200 s, $0.553, 70% saved by spot instances\n"
    )
    job.pop("BillableTimeInSeconds")
    assert "what it is charged for is told when it has ended" in costs("--job", "dogs").stdout
    del cloud.replies["sagemaker:DescribeTrainingJob"]
    nobody = costs("--job", "cats")
    assert (nobody.returncode, nobody.stderr) == (2, "error: there is no training job cats in eu-central-1\n")


def test_a_month_of_an_endpoint_with_the_instances_that_it_has_now(cloud: Cloud) -> None:
    sagemaker = boto3.client("sagemaker")
    variant = {
        "VariantName": "A",
        "ModelName": "dogs",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 2,
    }
    sagemaker.create_model(ModelName="dogs", ExecutionRoleArn="arn:aws:iam::123456789012:role/any-role")
    sagemaker.create_endpoint_config(EndpointConfigName="dogs", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="dogs", EndpointConfigName="dogs")

    done = costs("--endpoint", "dogs")

    assert "endpoint with dogs: $0.23 an hour, $167.90 a month, until it is ended" in done.stdout, done.stderr

    def updated(answer: dict[str, Any]) -> dict[str, Any]:
        new = {
            "EndpointConfigName": "dogs",
            "ProductionVariants": [
                {"VariantName": "A", "CurrentInstanceCount": 1, "DesiredInstanceCount": 3}
            ],
        }
        return answer | {"EndpointStatus": "Updating", "PendingDeploymentSummary": new}

    cloud.edits["sagemaker:DescribeEndpoint"] = updated
    old, new = costs("--endpoint", "dogs").stdout.splitlines()
    assert old.startswith("endpoint with dogs: $0.23 an hour")
    assert new.startswith("endpoint with dogs, beside it while an update lasts: $0.345 an hour")
    del cloud.edits["sagemaker:DescribeEndpoint"]
    nobody = costs("--endpoint", "cats")
    assert (nobody.returncode, nobody.stderr) == (2, "error: there is no endpoint cats in eu-central-1\n")
