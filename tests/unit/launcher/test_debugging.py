"""What a request asks of SageMaker Debugger, and that smdebug and the API understand it."""

# ruff: noqa: F811 - a fixture is an argument under its own name

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_scripts import pictures, script  # noqa: F401 - fixtures

from launcher import aws, debugging, layout, requests, rule_images, search, tuning_request
from launcher.errors import SettingsError
from launcher.requests import Json, Request
from trainer.metrics import metric_definitions

OUTPUT = "s3://bucket/out"


def request(hyperparameters: dict[str, Json], region: str | None = None) -> Request:
    parts = debugging.debugging(hyperparameters, OUTPUT, managed_rules_in=region)
    return requests.validate(
        "CreateTrainingJob",
        requests.training_job(
            name="dogs",
            image="train",
            channels={"training": "s3://bucket/dogs"},
            hyperparameters=hyperparameters,
            metric_definitions=[],
            output_uri=OUTPUT,
            debug_hook=parts.hook,
            debug_rules=parts.rules,
            profiler=parts.profiler,
        ),
    )


def test_the_three_parts_are_these() -> None:
    asked = request({}, "eu-central-1")

    image = "482524230118.dkr.ecr.eu-central-1.amazonaws.com/sagemaker-debugger-rules:latest"
    assert request({})["DebugHookConfig"] == {
        "S3OutputPath": "s3://bucket/out",
        "LocalPath": "/opt/ml/output/tensors",
        "HookParameters": {"reductions": "mean,std,min,max,l2_norm,abs_max"},
        "CollectionConfigurations": [
            {"CollectionName": "losses"},
            {"CollectionName": "gradients"},
            {"CollectionName": "weights"},
            {"CollectionName": "biases"},
        ],
    }
    assert asked["DebugHookConfig"]["HookParameters"] == {
        "train.save_interval": "50",
        "eval.save_interval": "1",
    }
    assert asked["DebugHookConfig"]["CollectionConfigurations"] == [
        *request({})["DebugHookConfig"]["CollectionConfigurations"],
        {"CollectionName": "updates", "CollectionParameters": {"reductions": debugging.REDUCTIONS}},
        {"CollectionName": "activations", "CollectionParameters": {"reductions": debugging.REDUCTIONS}},
    ]
    assert asked["ProfilerConfig"] == {
        "S3OutputPath": "s3://bucket/out",
        "ProfilingIntervalInMilliseconds": 500,
    }
    assert {
        each["RuleConfigurationName"]: each["RuleParameters"] for each in asked["DebugRuleConfigurations"]
    } == {
        "VanishingGradient": {"rule_to_invoke": "VanishingGradient", "threshold": "0.000001"},
        "ExplodingTensor": {"rule_to_invoke": "ExplodingTensor"},
        "LossNotDecreasing": {"rule_to_invoke": "LossNotDecreasing", "num_steps": "200", "mode": "TRAIN"},
        "Overfit": {"rule_to_invoke": "Overfit"},
        "Overtraining": {"rule_to_invoke": "Overtraining"},
        "WeightUpdateRatio": {"rule_to_invoke": "WeightUpdateRatio", "num_steps": "50"},
    }
    assert {each["RuleEvaluatorImage"] for each in asked["DebugRuleConfigurations"]} == {image}


@pytest.mark.parametrize(
    ("hyperparameters", "region", "parts"),
    [
        ({}, None, {"DebugHookConfig", "ProfilerConfig"}),
        ({}, "us-east-1", {"DebugHookConfig", "ProfilerConfig", "DebugRuleConfigurations"}),
        ({"debug": "true", "profile": 1}, None, {"DebugHookConfig", "ProfilerConfig"}),
        ({"debug": "false"}, None, {"ProfilerConfig"}),
        ({"debug": False}, None, {"ProfilerConfig"}),
        ({"debug": 0}, None, {"ProfilerConfig"}),
    ],
)
def test_what_is_switched_off_is_not_asked_for(
    hyperparameters: dict[str, Json], region: str | None, parts: set[str]
) -> None:
    asked = request(hyperparameters, region)

    assert {key for key in asked if key.startswith(("Debug", "Profiler"))} == parts
    assert "DisableProfiler" not in asked["ProfilerConfig"]


def test_without_a_profile_the_platform_is_told_not_to_watch() -> None:
    assert request({"profile": "False"})["ProfilerConfig"] == {"DisableProfiler": True}


@pytest.mark.parametrize(
    ("hyperparameters", "region", "parameters"),
    [
        ({"debug-interval": 7}, None, {"reductions": debugging.REDUCTIONS, "train.save_interval": "7"}),
        ({"debug-interval": "7"}, "us-east-1", {"train.save_interval": "7"}),
        ({"debug-interval": 0, "debug-whole": "true"}, None, {}),
        ({"debug-interval": "often"}, None, {"reductions": debugging.REDUCTIONS}),  # the job refuses it
    ],
)
def test_when_and_what_to_save_is_said_where_it_counts(
    hyperparameters: dict[str, Json], region: str | None, parameters: dict[str, str]
) -> None:
    found = request(hyperparameters, region)["DebugHookConfig"]["HookParameters"]

    evaluation = {"eval.save_interval": "1"} if "train.save_interval" in parameters else {}
    assert found == parameters | evaluation


def test_the_managed_rules_are_aws_own_and_find_their_collections() -> None:
    aws_rules = pytest.importorskip(
        "smdebug_rulesconfig", reason="comes with the SageMaker SDK: --group local-mode"
    )
    asked = request({"debug-interval": 20}, "us-east-1")

    saved = {each["CollectionName"] for each in asked["DebugHookConfig"]["CollectionConfigurations"]}
    known = {
        rule["DebugRuleConfiguration"]["RuleConfigurationName"]: rule
        for rule in (
            aws_rules.vanishing_gradient(),
            aws_rules.exploding_tensor(),
            aws_rules.loss_not_decreasing(),
            aws_rules.overfit(),
            aws_rules.overtraining(),
            aws_rules.weight_update_ratio(),
        )
    }
    assert set(known) == {each["RuleConfigurationName"] for each in asked["DebugRuleConfigurations"]}
    for each in asked["DebugRuleConfigurations"]:
        theirs = known[each["RuleConfigurationName"]]
        invoked = theirs["DebugRuleConfiguration"]["RuleParameters"]["rule_to_invoke"]
        assert each["RuleParameters"]["rule_to_invoke"] == invoked
        assert {needed["CollectionName"] for needed in theirs.get("CollectionConfigurations", [])} <= saved
    ratio = asked["DebugRuleConfigurations"][-1]["RuleParameters"]
    assert ratio["num_steps"] == asked["DebugHookConfig"]["HookParameters"]["train.save_interval"]


def test_managed_rules_without_tensors_are_refused() -> None:
    with pytest.raises(SettingsError, match="debug=false does not save"):
        request({"debug": "false"}, "us-east-1")


def test_managed_rules_of_several_networks_are_refused() -> None:
    with pytest.raises(SettingsError, match="each of several backbones has its own"):
        request({"backbone": "resnet50,efficientnet_lite0"}, "us-east-1")


def test_a_region_without_managed_rules_is_named() -> None:
    with pytest.raises(SettingsError, match="no managed rules in eu-nowhere-1"):
        request({}, "eu-nowhere-1")


def test_chinas_regions_have_a_domain_of_their_own() -> None:
    assert rule_images.rule_image("cn-north-1").startswith(
        "618459771430.dkr.ecr.cn-north-1.amazonaws.com.cn/"
    )


def test_the_table_of_accounts_is_the_sdks() -> None:
    sdk = pytest.importorskip("sagemaker.core", reason="the SageMaker SDK: --group local-mode")
    table = json.loads((Path(sdk.__path__[0]) / "image_uri_config/debugger.json").read_text())

    newest = table["versions"][rule_images.TAG]
    assert (newest["registries"], newest["repository"]) == (rule_images.ACCOUNTS, rule_images.REPOSITORY)


READ_BACK = """
import json, sys
from trainer import smdebug_support
hook = smdebug_support.Hook.create_from_json_file(sys.argv[1])
reductions = hook.reduction_config
print(json.dumps({
    "out_dir": hook.out_dir,
    "reductions": [reductions.reductions, reductions.norms, reductions.abs_reductions],
    "whole": reductions.save_raw_tensor,
    "collections": sorted(hook.include_collections),
    "train": hook.save_config.get_save_config(smdebug_support.ModeKeys.TRAIN).save_interval,
    "eval": hook.save_config.get_save_config(smdebug_support.ModeKeys.EVAL).save_interval,
}))
"""


@pytest.mark.parametrize(
    ("region", "reductions", "train"),
    [(None, [["mean", "std", "min", "max"], ["l2"], ["max"]], 500), ("us-east-1", [[], [], []], 50)],
)
def test_smdebug_makes_of_the_file_what_was_meant(
    tmp_path: Path, region: str | None, reductions: Any, train: int
) -> None:
    asked = request({}, region)
    asked["DebugHookConfig"]["LocalPath"] = str(tmp_path / "tensors")
    layout.write(asked, {"algo-1": tmp_path / "job"}, None)
    file = tmp_path / "job/input/config/debughookconfig.json"

    read = subprocess.run([sys.executable, "-c", READ_BACK, file], capture_output=True, text=True, check=True)

    found = json.loads(read.stdout.splitlines()[-1])
    assert found["out_dir"] == str(tmp_path / "tensors")
    assert found["reductions"] == reductions
    assert found["whole"] == (region is not None)
    assert set(debugging.COLLECTIONS) <= set(found["collections"])
    assert (found["train"], found["eval"]) == (train, 500 if region is None else 1)


def test_a_job_finds_the_files_that_the_platform_writes(tmp_path: Path) -> None:
    asked, plain = request({}), request({"debug": False})

    layout.write(asked, {"algo-1": tmp_path / "job", "algo-2": tmp_path / "job/algo-2"}, None)
    layout.write(plain, {"algo-1": tmp_path / "plain"}, None)

    for host in ("job", "job/algo-2"):
        config = tmp_path / host / "input/config"
        assert json.loads((config / "debughookconfig.json").read_text()) == asked["DebugHookConfig"]
        assert json.loads((config / "profilerconfig.json").read_text()) == asked["ProfilerConfig"]
    assert not (tmp_path / "plain/input/config/debughookconfig.json").exists()


def test_the_command_line_asks_for_them(pictures: Path) -> None:
    def parts(*flags: str, **environment: str) -> set[str]:
        done = script("launch_training.py", "--data", pictures, "--dry-run", *flags, **environment)
        assert done.returncode == 0, done.stderr
        return {key for key in json.loads(done.stdout) if key.startswith(("Debug", "Profiler"))}

    assert parts() == {"DebugHookConfig", "ProfilerConfig"}
    assert parts("--set", "debug=false") == {"ProfilerConfig"}
    assert parts("--no-debug-hook") == set()
    assert "DebugRuleConfigurations" in parts("--managed-rules", AWS_REGION="eu-west-1")


@pytest.mark.parametrize(
    ("flags", "region", "message"),
    [
        (["--managed-rules"], "", "no AWS region is set"),
        (["--managed-rules"], "mars-1", "no managed rules in mars-1"),
        (["--managed-rules", "--set", "debug=false"], "eu-west-1", "debug=false does not save"),
        (["--managed-rules", "--no-debug-hook"], "eu-west-1", "not allowed with argument"),
    ],
)
def test_what_cannot_be_asked_for_is_wrong_usage(
    pictures: Path,
    flags: list[str],
    region: str,
    message: str,
) -> None:
    done = script(
        "launch_training.py",
        *("--data", pictures, "--dry-run", *flags),
        AWS_REGION=region,
        AWS_DEFAULT_REGION="",
        AWS_CONFIG_FILE="/dev/null",
    )

    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_region_is_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    monkeypatch.delenv("AWS_REGION", raising=False)
    assert aws.region() == "eu-west-2"
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert aws.region() == "eu-west-3"


SAVED = """
import json, sys
from pathlib import Path
import torch
from trainer.hook import DebugSettings, create_hook
from trainer.smdebug_support import ModeKeys
hook = create_hook(Path(sys.argv[2]), DebugSettings(configuration=Path(sys.argv[1])))
hook.at(0, ModeKeys.TRAIN, 0)
for name in ("gradient/head.weight", "head.weight", "update/head.weight", "head_output_0"):
    hook.save(name, torch.ones(2, 3))
print(json.dumps(sorted(name for name, value in hook.pending.items() if value.ndim)))
"""


@pytest.mark.parametrize(
    ("hyperparameters", "region", "whole"),
    [
        ({}, None, []),
        ({}, "us-east-1", ["gradient/head.weight", "head.weight"]),
        (
            {"debug-whole": True},
            "us-east-1",
            ["gradient/head.weight", "head.weight", "head_output_0", "update/head.weight"],
        ),
    ],
)
def test_the_job_saves_whole_what_managed_rules_read_and_no_more(
    tmp_path: Path, hyperparameters: dict[str, Json], region: str | None, whole: list[str]
) -> None:
    file = tmp_path / "debughookconfig.json"
    file.write_text(json.dumps(request(hyperparameters, region)["DebugHookConfig"]))

    saved = subprocess.run(
        [sys.executable, "-c", SAVED, file, tmp_path], capture_output=True, text=True, check=True
    )

    assert json.loads(saved.stdout.splitlines()[-1]) == whole


def test_a_searchs_trials_are_not_debugged() -> None:
    training = request({"backbone": "resnet50"}, "us-east-1")
    training["AlgorithmSpecification"]["MetricDefinitions"] = metric_definitions()

    tuning = tuning_request.tuning_job("search", search.read(search.DEFAULT_FILE), training)

    assert "Debug" not in json.dumps(tuning)
    assert "Profiler" not in json.dumps(tuning)
