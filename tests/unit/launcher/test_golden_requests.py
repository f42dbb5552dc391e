"""What every script would send, as files that a person can read: tests/golden/<script>/<case>.json.

A file has a command line and, by operation, the requests that its --dry-run prints; a single one, which is
printed as it is, has its name in the file's `operation`; what is no request is in `printed` instead. With
some scripts what is there already says what is to be done: `account` is then the function of
tests/aws/project_things.py that makes it.
`pytest --update-golden` writes the requests anew; a new case is a file without them. Botocore's own model has
to take each request, and each flag is in a case.
"""

import argparse
import contextlib
import io
import json
import re
import runpy
import shlex
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import cloud
import project_things
import pytest
import script
from botocore.validate import ParamValidator

from launcher import aws
from launcher.errors import SettingsError

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests/golden"
CASES = sorted(GOLDEN.glob("*/*.json"))
SETTINGS = str(GOLDEN / "settings.toml")
SCRIPTS = sorted({case.parent.name for case in CASES})
# Of these services the scripts send requests; an operation's name is enough to tell which.
SERVICES = (
    "sagemaker",
    "sagemaker-runtime",
    "application-autoscaling",
    "cloudwatch",
    "iam",
    "ecr",
    "s3",
    "sns",
    "logs",
    "budgets",
    "pricing",
)


def printed(case: Path) -> Any:
    """Run a case's script in this process with --dry-run and return the JSON that it prints."""
    golden, name = json.loads(case.read_text()), case.parent.name
    output = io.StringIO()
    with (
        account(golden.get("account")),
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(output),
    ):
        patch.setattr(sys, "argv", [name, *shlex.split(golden["command"]), "--dry-run"])
        patch.setattr("launcher.command_line.signal.signal", lambda *_: None)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "scripts" / f"{name}.py"), run_name="__main__")
    assert ended.value.code == 0
    return json.loads(output.getvalue().replace(str(ROOT), "CHECKOUT"))


@contextlib.contextmanager
def account(state: str | None) -> Iterator[None]:
    """Make an account with what project_things calls so, where a case needs one."""
    if state is None:
        yield
        return
    with cloud.account_on_this_machine() as there:
        assert script.run("setup_account", "--settings", SETTINGS).returncode == 0
        getattr(project_things, state)(there)
        yield


@pytest.mark.usefixtures("_no_account")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.stem}")
def test_a_dry_run_prints_the_golden_requests(case: Path, pytestconfig: pytest.Config) -> None:
    golden = json.loads(case.read_text())

    found = printed(case)

    if operation := golden.get("operation"):
        found = {operation: found}
    key = "printed" if "printed" in golden else "requests"
    if pytestconfig.getoption("update_golden"):
        case.write_text(json.dumps(golden | {key: found}, indent=2, ensure_ascii=False) + "\n")
    else:
        assert found == golden[key]


@pytest.mark.usefixtures("_no_account")
def test_policies_are_printed_without_an_account_and_that_is_said() -> None:
    ended = script.run("setup_account", "--print-policies", "--settings", str(GOLDEN / "nobody.toml"))

    assert (
        json.loads(ended.stdout)
        == json.loads((GOLDEN / "setup_account/policies.json").read_text())["printed"]
    )
    assert "the account is not known, and shown as 000000000000" in ended.stderr


@pytest.mark.usefixtures("_no_account")
def test_what_only_answers_tell_of_a_comparison_is_said() -> None:
    settings = ("--settings", str(GOLDEN / "settings.toml"))
    two = ("--endpoint-name", "dogs", "--compare", "A", "B")

    ended = script.run("invoke", str(GOLDEN / "dogs/test"), *two, *settings, "--dry-run")

    assert "not looked at yet: whether both have a class for each folder" in ended.stderr


@pytest.mark.usefixtures("_no_account")
def test_what_is_not_known_without_an_account_is_said_once() -> None:
    settings = ("--settings", str(GOLDEN / "nobody.toml"))

    ended = script.run(
        "launch_training", "--backend", "aws", "--data", "s3://bucket/dogs", *settings, "--dry-run"
    )

    assert ended.stderr.count("the account is not known") == 1
    assert '"RoleArn": "arn:aws:iam::000000000000:role/dog-breeds-execution"' in ended.stdout
    why = script.run(
        "explain", "s3://dogs/photos", "--backend", "aws", "--model", "dogs", *settings, "--dry-run"
    )
    assert why.stderr.count("where dogs has put its model is not known") == 1


@pytest.mark.usefixtures("_no_account")
def test_a_model_and_photographs_of_this_machine_are_said_to_be_sent() -> None:
    model, photograph = GOLDEN / "two-breeds.tar.gz", GOLDEN.parents[1] / "docs/images/ui.png"
    options = ("--format", "png", "--settings", str(GOLDEN / "settings.toml"), "--job-name", "dogs")

    ended = script.run(
        "explain", str(photograph), "--backend", "aws", "--model", str(model), *options, "--dry-run"
    )

    assert ended.returncode == 0, ended.stderr
    assert re.search(rf"{model} \([\d,]+ bytes\) is sent to s3://\S+/models/\S+, unless", ended.stderr)
    assert re.search(r"1 photographs are sent to s3://\S+/explanations/dogs/photographs\n", ended.stderr)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.stem}")
def test_botocores_own_model_takes_the_golden_requests(case: Path) -> None:
    shapes = _shapes()

    for operation, request in _operations(json.loads(case.read_text()).get("requests", {})):
        reports = [ParamValidator().validate(request, shape) for shape in shapes[operation]]
        faults = [report.generate_report() for report in reports if report.has_errors()]
        assert len(faults) < len(reports), f"{operation}: {faults}"


def _operations(requests: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for operation, request in requests.items():
        for each in request if isinstance(request, list) else [request]:
            yield operation, each


@cache
def _shapes() -> dict[str, list[Any]]:
    """Return what an operation takes, by its name: several services have a TagResource, say."""
    session = botocore.session.get_session()
    shapes: dict[str, list[Any]] = defaultdict(list)
    for model in (session.get_service_model(service) for service in SERVICES):
        for name in model.operation_names:
            shapes[name].append(model.operation_model(name).input_shape)
    return shapes


@pytest.mark.usefixtures("_no_account")
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_flag_is_in_a_case(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parsers: list[argparse.ArgumentParser] = []
    parse = argparse.ArgumentParser.parse_args

    def note(parser: argparse.ArgumentParser, *arguments: Any, **named: Any) -> Any:
        parsers.append(parser)
        return parse(parser, *arguments, **named)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", note)
    cases = [case for case in CASES if case.parent.name == script]
    printed(cases[-1])

    flags = {option for action in parsers[-1]._actions for option in action.option_strings}
    used = {word for case in cases for word in shlex.split(json.loads(case.read_text())["command"])}
    elsewhere = {*_SENDS_NOTHING.get(script, ()), *_SENT_IN_A_TEST.get(script, ())}
    assert not flags - used - {"-h", "--help", "--dry-run"} - elsewhere
    assert not used & elsewhere


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_no_dry_run_can_show_is_sent_by_a_test(script: str) -> None:
    for flag, test in _SENT_IN_A_TEST.get(script, {}).items():
        assert f'"{flag}"' in (ROOT / "tests/aws" / test).read_text(), flag


def test_what_is_sent_is_held_against_the_same_model() -> None:
    sagemaker = aws.client("sagemaker", region="eu-central-1")

    with pytest.raises(SettingsError, match="Unknown parameter"), aws.explained():
        sagemaker.stop_training_job(TrainingJobName="dogs", Unknown="x")


# What changes no request to AWS.
_SENDS_NOTHING: dict[str, set[str]] = {
    "costs": {"--request", "--minutes"},  # about what another command has printed
    # An endpoint that is not SageMaker's; how many ask at a time, and how answers are shown.
    "invoke": {"--url", "--clients", "--top-k", "--format", "--latency"},
    "monitor": {"--open", "--plot"},  # what is shown and drawn here
    "teardown": {"--yes"},  # whether it asks a person before
    # What is fetched, drawn or looked into on this machine.
    "prepare_data": {"--draw", "--check", "--url", "--output", "--classes"}
    | {"--scan", "--reports", "--backend", "--image"},
}
# What these ask depends on the time, or on the answers before, so that no --dry-run can show it. The test
# named here sends it all, through the clients that hold each request against botocore's model (see above).
_SENT_IN_A_TEST: dict[str, dict[str, str]] = {
    "batch_transform": {"--attach": "test_batch_on_aws.py"},
    "deploy": {"--attach": "test_deploy.py"},
    "explain": {"--attach": "test_explain_on_aws.py"},
    "launch_hpo": {"--attach": "test_search_on_aws.py"},
    "launch_training": {"--attach": "test_training_on_aws.py"},
    "monitor": dict.fromkeys(
        ("--logs", "--hours", "--drift", "--training", "--captured"), "test_monitoring.py"
    ),
}
