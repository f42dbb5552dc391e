"""What requests can cost, by a table whose prices are easy to multiply."""

import datetime
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import script

import pages
from launcher import costs, endpoint_requests, prices
from launcher.clarify_requests import ANALYSIS
from launcher.prices import DEFAULT_FILE, Prices

SCRIPT = Path(__file__).parents[3] / "scripts/costs.py"
TABLE = Prices(
    region="us-east-1",
    date=datetime.date(2026, 1, 2),
    source="the test",
    volume_gb_month=0.73,  # a thousandth of a dollar for each GB and hour
    serverless_gb_second=0.00002,
    hosted_gb=0.016,
    storage_gb_month=0.023,
    spot_share=0.25,
    instance_hours={"ml.m5.large": 1.0, "ml.g5.xlarge": 2.0},
)
JOB = {
    "TrainingJobName": "dogs",
    "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 500},
    "StoppingCondition": {"MaxRuntimeInSeconds": 7200},
}
SPOT = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 7200, "MaxWaitTimeInSeconds": 14400},
}


def search(**limits: int) -> dict[str, Any]:
    ranges = {"CategoricalParameterRanges": [{"Name": "a", "Values": "12"}, {"Name": "b", "Values": "123"}]}
    config = {"ResourceLimits": {"MaxParallelTrainingJobs": 2} | limits, "ParameterRanges": ranges}
    definition = {key: JOB[key] for key in ("ResourceConfig", "StoppingCondition")}
    return {
        "HyperParameterTuningJobName": "dogs",
        "HyperParameterTuningJobConfig": config,
        "TrainingJobDefinition": definition,
    }


PROCESSING = {
    "ProcessingJobName": "why",
    "ProcessingResources": {
        "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 0}
    },
    "StoppingCondition": {"MaxRuntimeInSeconds": 1800},
}
TRANSFORM = {
    "TransformJobName": "all",
    "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 3},
}


@pytest.mark.parametrize(
    ("operation", "request_", "dollars"),
    [
        ("CreateTrainingJob", JOB, 2 * (2 + 0.5) * 2),
        ("CreateTrainingJob", JOB | SPOT, 2 * (2 + 0.5) * 4),
        (
            "CreateTrainingJob",
            JOB | {"ResourceConfig": JOB["ResourceConfig"] | {"KeepAlivePeriodInSeconds": 1800}},
            2 * 2.5 * 2.5,
        ),
        ("CreateHyperParameterTuningJob", search(MaxNumberOfTrainingJobs=10), 10 * 10),
        ("CreateHyperParameterTuningJob", search(), 6 * 10),  # a grid: two values times three
        # two at a time for three hours: six hours of a trial, of the twenty that ten trials might last
        ("CreateHyperParameterTuningJob", search(MaxNumberOfTrainingJobs=10, MaxRuntimeInSeconds=10800), 30),
        ("CreateProcessingJob", PROCESSING, 0.5),
        ("CreateTrainingJob", JOB | {"StoppingCondition": {}}, 2 * 2.5 * 24),  # the platform's own limit
    ],
)
def test_what_ends_by_itself_costs_at_most(operation: str, request_: dict[str, Any], dollars: float) -> None:
    (cost,) = costs.of([(operation, request_)], TABLE)

    assert cost.at_most == pytest.approx(dollars)


def test_what_is_expected_is_the_usual_share_on_spot_instances_and_never_above_the_limit() -> None:
    (full,) = costs.of([("CreateTrainingJob", JOB)], TABLE)
    (spot,) = costs.of([("CreateTrainingJob", JOB | SPOT)], TABLE)

    assert full.expected(minutes=30) == pytest.approx(2.5)
    assert spot.expected(minutes=30) == pytest.approx(2.5 / 4)
    assert full.expected(minutes=60_000) == full.at_most


def test_machines_that_are_kept_warm_are_expected_to_cost_until_they_go() -> None:
    warm = {"ResourceConfig": JOB["ResourceConfig"] | {"KeepAlivePeriodInSeconds": 3600}}
    trials = search(MaxNumberOfTrainingJobs=10)
    trials["TrainingJobDefinition"] |= warm

    (job,) = costs.of([("CreateTrainingJob", JOB | warm)], TABLE)
    (ten,) = costs.of([("CreateHyperParameterTuningJob", trials)], TABLE)

    assert job.expected(minutes=20) == pytest.approx(2 * 2.5 * (1 / 3 + 1))
    assert job.expected(minutes=60_000) == job.at_most
    assert ten.expected(minutes=20) == pytest.approx(2 * 2.5 * (10 / 3 + 2))  # two at a time


def variant(name: str, count: int = 1, kind: str = "ml.m5.large") -> dict[str, Any]:
    return {"VariantName": name, "ModelName": name, "InstanceType": kind, "InitialInstanceCount": count}


def endpoint(*variants: dict[str, Any], **more: Any) -> list[tuple[str, dict[str, Any]]]:
    config = {"EndpointConfigName": "dogs-1", "ProductionVariants": list(variants), **more}
    return [
        ("CreateModel", {"ModelName": "a"}),
        ("CreateEndpointConfig", config),
        ("CreateEndpoint", {"EndpointName": "dogs", "EndpointConfigName": "dogs-1"}),
    ]


def test_an_endpoint_costs_all_its_variants_by_the_hour_and_the_month() -> None:
    shadow = variant("C", 1, "ml.g5.xlarge") | {"VolumeSizeInGB": 500}

    (cost,) = costs.of(
        endpoint(variant("A"), variant("B", 3), ShadowProductionVariants=[shadow]),
        TABLE,
    )

    assert (cost.hourly, cost.monthly, cost.at_most) == (6.5, 6.5 * 730, None)
    assert "$6.50 an hour, $4,745.00 a month, until it is ended: A: 1 × ml.m5.large at $1 an hour" in str(
        cost
    )


@pytest.mark.parametrize("operation", ["CreateEndpoint", "UpdateEndpoint"])
def test_an_endpoint_that_is_scaled_costs_as_much_as_its_most_instances(operation: str) -> None:
    target = {"ResourceId": "endpoint/dogs/variant/A", "MinCapacity": 1, "MaxCapacity": 5}
    elsewhere = target | {"ResourceId": "endpoint/cats/variant/B", "MaxCapacity": 50}
    scaling = [("RegisterScalableTarget", each) for each in (target, elsewhere)]

    *requests, (_, request) = endpoint(variant("A"), variant("B"))
    (cost,) = costs.of([*requests, (operation, request), *scaling], TABLE)

    assert cost.hourly == 6.0


def test_an_endpoint_that_begins_with_more_than_it_is_scaled_to_costs_as_much_as_it_begins_with() -> None:
    target = {"ResourceId": "endpoint/dogs/variant/A", "MinCapacity": 1, "MaxCapacity": 4}

    (cost,) = costs.of([*endpoint(variant("A", 9)), ("RegisterScalableTarget", target)], TABLE)

    assert cost.hourly == 9.0


@pytest.mark.parametrize(
    ("scheduled", "said"),
    [(0, "$4.00 an hour at most, nothing while nobody asks"), (1, "$4.00 an hour, $2,920.00 a month")],
)
def test_an_endpoint_that_is_scaled_down_to_nothing_costs_nothing_while_nobody_asks(
    scheduled: int, said: str
) -> None:
    target = {"ResourceId": "endpoint/dogs/variant/A", "MinCapacity": 0, "MaxCapacity": 4}
    action = {"MinCapacity": scheduled, "MaxCapacity": 4}
    by_the_clock = {"ResourceId": "endpoint/dogs/variant/A", "ScalableTargetAction": action}

    (cost,) = costs.of(
        [*endpoint(variant("A")), ("RegisterScalableTarget", target), ("PutScheduledAction", by_the_clock)],
        TABLE,
    )

    assert said in str(cost)


def test_a_schedule_may_ask_for_more_instances_than_the_load_may() -> None:
    target = {"ResourceId": "endpoint/dogs/variant/A", "MinCapacity": 1, "MaxCapacity": 4}
    at_seven = {
        "ResourceId": "endpoint/dogs/variant/A",
        "ScalableTargetAction": {"MinCapacity": 1, "MaxCapacity": 50},
    }
    requests = [*endpoint(variant("A")), ("RegisterScalableTarget", target), ("PutScheduledAction", at_seven)]

    (cost,) = costs.of(requests, TABLE)

    assert cost.hourly == 50.0


@pytest.mark.parametrize(("limit", "fleet"), [(None, 2.0), (8, 8.0)])
def test_an_update_that_shifts_traffic_costs_the_old_instances_beside_the_new(
    limit: int | None, fleet: float
) -> None:
    shift = endpoint_requests.traffic_shift(
        canary=10, wait_seconds=300, bake_seconds=300, startup_seconds=480, alarms=["slow"]
    )
    requests = [
        *endpoint(variant("A", 2)),
        ("UpdateEndpoint", endpoint_requests.update(name="dogs", config_name="dogs-1", deployment=shift)),
    ]
    if limit:
        target = {"ResourceId": "endpoint/dogs/variant/A", "MinCapacity": 1, "MaxCapacity": limit}
        requests.append(("RegisterScalableTarget", target))

    lasting, update = costs.of(requests, TABLE)

    seconds = shift["BlueGreenUpdatePolicy"]["MaximumExecutionTimeoutInSeconds"]
    assert lasting.hourly == fleet
    assert update.at_most == pytest.approx(fleet * seconds / 3600)
    assert str(update).startswith("an update of dogs: at most $")
    assert "the old instances beside the new, taken to be as many, 36 min at most: A: " in str(update)


def test_an_update_without_a_shift_has_no_second_fleet_of_its_own() -> None:
    at_once = endpoint_requests.update(name="dogs", config_name="dogs-1")

    assert len(costs.of([*endpoint(variant("A")), ("UpdateEndpoint", at_once)], TABLE)) == 1


def test_a_serverless_endpoint_costs_what_its_requests_take() -> None:
    serverless = {"MemorySizeInMB": 4096, "MaxConcurrency": 5}

    (cost,) = costs.of(endpoint({"VariantName": "A", "ServerlessConfig": serverless}), TABLE)

    assert cost.hourly == pytest.approx(4 * 0.00002 * 5 * 3600)
    assert "$1.44 an hour at most, nothing while nobody asks" in str(cost)
    assert "$0.008 for a thousand requests of 0.1 s" in str(cost)


def test_a_transform_costs_by_the_hour_while_it_runs() -> None:
    (cost,) = costs.of([("CreateTransformJob", TRANSFORM)], TABLE)

    assert (cost.hourly, cost.at_most) == (3.0, None)
    assert str(cost) == (
        "transform all: $3.00 an hour, until it has ended by itself: 3 × ml.m5.large at $1 an hour"
    )


def test_an_explanation_costs_its_job_and_the_endpoint_that_clarify_makes_for_as_long() -> None:
    analysis = {"predictor": {"instance_type": "ml.g5.xlarge", "initial_instance_count": 2}}
    sent = {"Bucket": "b", "Key": f"explanations/why/{ANALYSIS}", "Body": json.dumps(analysis)}

    endpoint_of_its_own, job = costs.of([("PutObject", sent), ("CreateProcessingJob", PROCESSING)], TABLE)

    assert (endpoint_of_its_own.what, endpoint_of_its_own.at_most) == ("the job's own endpoint", 2 * 2 * 0.5)
    assert job.at_most == 0.5


def test_an_unknown_instance_is_named_with_what_to_do() -> None:
    request = JOB | {"ResourceConfig": {"InstanceType": "ml.x9.xlarge", "InstanceCount": 1}}

    said, origin = costs.lines([("CreateTrainingJob", request)], TABLE)

    assert "what ml.x9.xlarge costs is not in config/prices.toml" in said
    assert "scripts/costs.py --refresh --instance-type ml.x9.xlarge" in said
    assert "us-east-1, on demand, 2026-01-02 (the test)" in origin


def test_what_is_free_by_itself_is_not_mentioned() -> None:
    assert costs.lines([("CreateModel", {"ModelName": "a"})], TABLE) == []


@pytest.mark.parametrize(
    "operations",
    [
        [("CreateTrainingJob", JOB)],
        [("CreateHyperParameterTuningJob", search())],
        [("CreateTransformJob", TRANSFORM)],
        [("CreateProcessingJob", PROCESSING)],
        [("CreateEndpointConfig", endpoint(variant("A"))[1][1])],
        endpoint(variant("A")),
    ],
)
def test_what_a_dry_run_prints_is_read_back(
    operations: list[tuple[str, dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    from launcher.arguments import show

    show(operations)

    printed = capsys.readouterr()
    assert costs.operations_of(json.loads(printed.out)) == operations
    assert printed.err.startswith("cost of ")


def test_the_shipped_table_says_when_and_from_where() -> None:
    shipped = prices.read(DEFAULT_FILE)

    assert shipped.instance_hours["ml.m5.large"] == 0.115
    assert shipped.origin == (
        "instances in us-east-1, on demand, 2026-11-27 (by hand, from memory of "
        "https://aws.amazon.com/sagemaker/pricing/)"
    )


@pytest.mark.usefixtures("_no_account")
def test_what_readme_says_that_it_costs_is_what_its_commands_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    readme = (pages.ROOT / "README.md").read_text(encoding="utf-8")
    _, _, section = readme.partition("### What it costs\n")
    table, _, commands = section.partition("```sh\n")
    export, *lines = commands.partition("```")[0].splitlines()
    monkeypatch.setenv(*shlex.split(export, comments=True)[1].split("="))
    said = ""
    for line in lines:
        _, program, *arguments = shlex.split(line)
        if ">" in arguments:
            arguments, file = arguments[:-2], tmp_path / arguments[-1]
            file.write_text(script.run(Path(program).stem, *arguments).stdout)
        else:
            said += script.run(
                Path(program).stem, "--request", str(tmp_path / arguments[1]), *arguments[2:]
            ).stdout

    figures = set(re.findall(r"\$[\d.,]*\d", table))

    assert len(figures) == 6
    assert figures <= set(re.findall(r"\$[\d.,]*\d", said)), said
    shipped = prices.read()
    assert f"at the usual {shipped.spot_share * 100:.0f} % of the price" in table
    assert (
        f"Prices of {shipped.region}, on demand, of {shipped.date}, written down by hand from memory" in table
    )
    assert shipped.source.startswith("by hand, from memory")


COMPLETE = JOB | {
    "AlgorithmSpecification": {"TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://b/o"},
    "RoleArn": "arn:aws:iam::123456789012:role/dogs",
}
INCOMPLETE_SEARCH = {
    "HyperParameterTuningJobName": "dogs",
    "HyperParameterTuningJobConfig": {"Strategy": "Random", "ResourceLimits": {"MaxParallelTrainingJobs": 1}},
}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a": 1}, "error: this is no request that is known here: it has a. Known is what a --dry-run"),
        ({"EndpointName": "dogs"}, "no request that is known here: it has EndpointName."),
        ({}, "no request that is known here: it has nothing."),
        ({"TrainingJobName": "dogs"}, 'Missing required parameter in input: "RoleArn"'),
        (COMPLETE | {"ResourceConfig": "large"}, "Invalid type for parameter ResourceConfig"),
        (COMPLETE | {"ResourceConfig": {"VolumeSizeInGB": 5}}, "what this costs depends on 'InstanceType'"),
        (INCOMPLETE_SEARCH, "what this costs depends on 'TrainingJobDefinition'"),
    ],
)
def test_what_is_no_whole_request_is_said(tmp_path: Path, content: dict[str, Any], said: str) -> None:
    (tmp_path / "job.json").write_text(json.dumps(content))

    ended = script.run("costs", "--request", str(tmp_path / "job.json"))

    assert (ended.returncode, said in ended.stderr) == (2, True), ended.stderr


def test_what_a_dry_run_prints_is_known() -> None:
    printed = [json.loads(file.read_text()) for file in pages.ROOT.glob("tests/golden/*/*.json")]
    several = [each["requests"] for each in printed if "requests" in each and "operation" not in each]

    for requests in several:
        costs.check(costs.operations_of(requests))

    assert len(several) > 20


def test_what_is_free_is_named(tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text('{"DeleteEndpoint": {"EndpointName": "dogs"}}')

    ended = script.run("costs", "--request", str(tmp_path / "request.json"))

    assert ended.stdout == "nothing that is known to be charged for by itself: DeleteEndpoint\n"


def test_the_script_answers_without_an_account(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps(COMPLETE))
    elsewhere = tmp_path / "prices.toml"
    elsewhere.write_text(DEFAULT_FILE.read_text().replace("= 1.408", "= 2.0"))

    def answer(*arguments: str | Path) -> str:
        command = [sys.executable, SCRIPT, "--prices", elsewhere, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=120, env={"PATH": "/bin"}
        ).stdout

    assert "2.0000" in answer()
    said = answer("--request", tmp_path / "job.json", "--minutes", "30").splitlines()
    assert said[0].startswith("cost of training job dogs: at most $8.")
    assert said[2] == "expected of training job dogs: $2.10 when it runs 30 minutes"
