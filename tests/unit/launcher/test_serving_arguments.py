"""What of deploy.py's command line goes together, and what the platform would refuse."""

import argparse
import re
from pathlib import Path

import pytest
import script

from launcher import endpoint_requests, scaling_requests, schedules, serving_arguments
from launcher.errors import SettingsError
from launcher.scaling_requests import Schedule
from launcher.serving_arguments import Named

SETTINGS = str(Path(__file__).parents[2] / "golden/settings.toml")
MODEL = str(Path(__file__).parents[2] / "golden/model.tar.gz")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "--backend process --serverless",
            "--serverless: only with --backend aws",
        ),
        (
            "--backend docker --shadow A=a --canary 5 --rollback-on x",
            "--canary, --rollback-on, --shadow: only with --backend aws",
        ),
        ("--backend process --variant A=a:9", "here each variant has a port of its own"),
        ("--backend process --variant A=a@ml.c5.large", "instance types are for --backend aws"),
        ("--backend aws --port 80", "--backend aws and --port do not go together"),
        ("--backend aws --memory 2g", "--backend aws and --memory do not go together"),
        ("--backend aws --serverless --capture 5", "--serverless and --capture do not go together"),
        ("--backend aws --serverless --scale-cpu 5", "--serverless and --scale-cpu do not go together"),
        ("--backend aws --async --variant A=a", "--async and --variant do not go together"),
        ("--backend aws --multi-model s3://dogs/m/ --shadow A=a", "--multi-model and --shadow do not go"),
        ("--backend aws --model a --variant A=a", "--variant and --model do not go together"),
        ("--backend aws --delete dogs --capture 5", "--delete and --capture do not go together"),
        ("--backend aws --attach dogs --model a", "--attach and --model do not go together"),
        ("--backend aws --attach dogs --dry-run", "--attach sends no request that --dry-run could show"),
        ("--backend aws --instance-type m5.large --dry-run", "'m5.large' is none of SageMaker's"),
        (
            "--backend aws --model s3://dogs/prefix/ --dry-run",
            "s3://dogs/prefix/: a model in S3 is one archive",
        ),
        ("--backend aws --canary 60", "--canary: 50 percent at most"),
        ("--backend aws --linear 5", "--linear: 10 to 50 percent"),
        ("--backend aws --canary 10", "--canary and --linear need --rollback-on ALARM: nothing else takes"),
        ("--backend aws --linear 10", "--canary and --linear need --rollback-on ALARM: nothing else takes"),
        (
            "--backend aws --variant A=s3://dogs/a.tar.gz:0",
            "--variant: all weights are 0, so none would get a request",
        ),
        (
            "--backend aws --variant A=s3://dogs/a.tar.gz:0 --variant B=s3://dogs/b.tar.gz:0",
            "--variant: all weights are 0",
        ),
        ("--backend aws --model a --shadow S=s3://dogs/m:-1", "the weight -1 is not 0 or more"),
        ("--backend aws --model a --schedule x=1-50@cron(bad)", "cron(…) takes six fields (minutes, hours, "),
        (
            "--backend aws --schedule x=1-5@at(2027-01-31T07:00:00) --schedule x=1-9@at(2027-01-31T19:00:00)",
            "--schedule: x is there twice",
        ),
        ("--backend aws --scale-backlog 5", "--scale-backlog is for --async"),
        ("--backend aws --variant A=a --variant A=b", "there are two variants A"),
        ("--backend aws --variant A=a --variant B=b --shadow C=c", "--shadow: of one variant"),
        ("--backend aws --model nowhere/there.tar.gz", "there is no model at nowhere/there.tar.gz"),
        (
            "--backend aws --model file:///a/model.tar.gz",
            "a model is a file, a job's folder, a job's name or",
        ),
        (
            f"--backend aws --model {MODEL} --scale-cpu 5 --instance-type ml.t2.large --dry-run",
            "AllTraffic is ml.t2.large, which cannot be scaled",
        ),
        (
            f"--backend aws --model {MODEL} --name {'d' * 60} --dry-run",
            "ModelName .*: up to 63 letters",
        ),
    ],
)
def test_options_that_do_not_go_together_are_named(line: str, said: str) -> None:
    account = ("--settings", SETTINGS) if "aws" in line else ()

    ended = script.run("deploy", *account, *line.split())

    assert ended.returncode == 2
    assert re.search(said if ".*" in said else re.escape(said), ended.stderr)


def test_a_variants_weight_is_behind_the_last_colon() -> None:
    assert serving_arguments.variant("A=runs/a:9") == Named("A", "runs/a", 9.0)
    assert serving_arguments.variant("A=s3://bucket/a:b/model.tar.gz") == Named(
        "A", "s3://bucket/a:b/model.tar.gz"
    )
    assert serving_arguments.variant("new-2=trained:0.5") == Named("new-2", "trained", 0.5)
    assert serving_arguments.variant("A=s3://bucket/a:v1.tar.gz") == Named("A", "s3://bucket/a:v1.tar.gz")


def test_a_variants_instance_type_is_behind_all_else() -> None:
    both = serving_arguments.variant("A=s3://bucket/a@home/model.tar.gz:9@ml.c5.large")
    alone = serving_arguments.variant("A=runs/a@ml.c6i.xlarge")

    assert both == Named("A", "s3://bucket/a@home/model.tar.gz", 9.0, "ml.c5.large")
    assert alone == Named("A", "runs/a", 1.0, "ml.c6i.xlarge")


@pytest.mark.parametrize("weight", ["-1", "-0.5", "nan", "inf", "1e999"])
def test_a_weight_that_is_none_is_not_taken_for_a_part_of_the_place(weight: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"the weight {weight} is not 0 or more"):
        serving_arguments.variant(f"A=s3://bucket/model.tar.gz:{weight}")


@pytest.mark.parametrize("text", ["A", "=runs/a", "A=", "A b=runs/a", "-A=runs/a"])
def test_a_variant_without_a_name_or_a_model_is_refused(text: str) -> None:
    with pytest.raises(Exception, match="is not of the form NAME=MODEL"):
        serving_arguments.variant(text)


def test_a_schedule_has_a_name_limits_and_a_time() -> None:
    assert serving_arguments.schedule("day=2-8@cron(0 7 ? * MON-FRI *)") == Schedule(
        "day", 2, 8, "cron(0 7 ? * MON-FRI *)"
    )
    for text in ("day=8-2@rate(1 day)", "day=2-8", "2-8@rate(1 day)"):
        with pytest.raises(Exception, match="is not of the form NAME=MIN-MAX@cron"):
            serving_arguments.schedule(text)


@pytest.mark.parametrize(
    "when",
    [
        "at(2027-01-31T07:00:00)",
        "rate(1 minute)",
        "rate(12 hours)",
        "cron(0/15 8-18 ? * MON-FRI *)",
        "cron(30 6 1,15 JAN-MAR,12 ? 2027-2029)",
        "cron(0 0 L * ? *)",
        "cron(0 0 3W */2 ? *)",
        "cron(0 0 ? * 3#2 *)",
        "cron(0 0 ? * friL *)",
        "cron(* * * * ? *)",
    ],
)
def test_a_schedule_of_application_auto_scaling_is_taken(when: str) -> None:
    assert schedules.fault(when) == ""


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("7 o'clock", "is none of at(…), rate(…) and cron(…)"),
        ("cron(0 7 ? * MON-FRI *", "is none of at(…), rate(…) and cron(…)"),
        ("at(tomorrow)", "such as at(2027-01-31T07:00:00)"),
        ("at(2027-02-30T07:00:00)", "such as at(2027-01-31T07:00:00)"),
        ("at(2027-01-31T07:00:00Z)", "such as at(2027-01-31T07:00:00)"),
        ("rate(0 days)", "rate(…) takes minutes, hours or days"),
        ("rate(5 weeks)", "rate(…) takes minutes, hours or days"),
        ("cron(0 7 * * MON-FRI)", "takes six fields"),
        ("cron(60 7 ? * MON *)", "'60' is no minutes, which is 0 to 59"),
        ("cron(0 24 ? * MON *)", "'24' is no hours, which is 0 to 23"),
        ("cron(0 7 32 * ? *)", "'32' is no day of the month"),
        ("cron(0 7 ? 13 MON *)", "'13' is no month"),
        ("cron(0 7 ? * 0 *)", "'0' is no day of the week, which is 1 to 7"),
        ("cron(0 7 ? * MO *)", "'MO' is no day of the week"),
        ("cron(0 7 ? * MON- *)", "'MON-' is no day of the week"),
        ("cron(*/0 7 ? * MON *)", "'*/0' is no minutes"),
        ("cron(? 7 ? * MON *)", "'?' is no minutes"),
        ("cron(0 7 ? * MON 1969)", "'1969' is no year"),
        ("cron(0 7 * * MON *)", "just one is ?"),
        ("cron(0 7 ? * ? *)", "just one is ?"),
    ],
)
def test_a_schedule_that_aws_would_refuse_is_refused_with_its_reason(when: str, said: str) -> None:
    assert said in schedules.fault(when)


@pytest.mark.parametrize(("kind", "count"), [("ml.m5.large", 2), ("ml.c5.xlarge", 4), ("ml.m5.12xlarge", 48)])
def test_processors_are_counted_by_the_instances_size(kind: str, count: int) -> None:
    assert scaling_requests.processors(kind) == count


def test_a_size_of_unknown_processors_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"ml\.c7g\.medium: how many processors it has is not known"):
        scaling_requests.processors("ml.c7g.medium")


@pytest.mark.parametrize(
    ("step", "steps"), [({"linear": 30}, 3), ({"linear": 25}, 3), ({"canary": 10}, 1), ({}, 0)]
)
def test_an_update_has_time_for_all_its_waits(step: dict[str, int], steps: int) -> None:
    shift = endpoint_requests.traffic_shift(**step, wait_seconds=600, bake_seconds=300, startup_seconds=480)

    limit = shift["BlueGreenUpdatePolicy"]["MaximumExecutionTimeoutInSeconds"]
    assert limit == steps * 600 + 300 + 2 * 480 + 600


def test_a_local_endpoint_has_the_name_that_it_is_given(tmp_path: Path) -> None:
    model, config, endpoint = endpoint_requests.on_this_machine("serve:1", tmp_path / "model.tar.gz", "dogs")

    assert (model["ModelName"], config["EndpointConfigName"], endpoint["EndpointName"]) == ("dogs",) * 3
