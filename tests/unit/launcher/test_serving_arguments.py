"""What of deploy.py's command line goes together, and what the platform would refuse."""

import re
from pathlib import Path

import pytest
import script

from launcher import endpoint_requests, scaling_requests, serving_arguments
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
        ("--backend docker --shadow A=a --canary 5", "--canary, --shadow: only with --backend aws"),
        ("--backend process --variant A=a:9", "here each variant has a port of its own"),
        ("--backend aws --port 80", "--backend aws and --port do not go together"),
        ("--backend aws --memory 2g", "--backend aws and --memory do not go together"),
        ("--backend aws --serverless --capture 5", "--serverless and --capture do not go together"),
        ("--backend aws --serverless --scale-cpu 5", "--serverless and --scale-cpu do not go together"),
        ("--backend aws --async --variant A=a", "--async and --variant do not go together"),
        ("--backend aws --multi-model s3://b/m --shadow A=a", "--multi-model and --shadow do not go"),
        ("--backend aws --model a --variant A=a", "--variant and --model do not go together"),
        ("--backend aws --delete dogs --capture 5", "--delete and --capture do not go together"),
        ("--backend aws --attach dogs --model a", "--attach and --model do not go together"),
        ("--backend aws --attach dogs --dry-run", "--attach sends no request that --dry-run could show"),
        ("--backend aws --canary 60", "--canary: 50 percent at most"),
        ("--backend aws --linear 5", "--linear: 10 to 50 percent"),
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


@pytest.mark.parametrize("text", ["A", "=runs/a", "A=", "A b=runs/a", "-A=runs/a"])
def test_a_variant_without_a_name_or_a_model_is_refused(text: str) -> None:
    with pytest.raises(Exception, match="is not of the form NAME=MODEL"):
        serving_arguments.variant(text)


def test_a_schedule_has_a_name_limits_and_a_time() -> None:
    assert serving_arguments.schedule("day=2-8@cron(0 7 ? * MON-FRI *)") == Schedule(
        "day", 2, 8, "cron(0 7 ? * MON-FRI *)"
    )
    for text in ("day=8-2@rate(1 day)", "day=2-8@7 o'clock", "2-8@rate(1 day)"):
        with pytest.raises(Exception, match="is not of the form NAME=MIN-MAX@cron"):
            serving_arguments.schedule(text)


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
