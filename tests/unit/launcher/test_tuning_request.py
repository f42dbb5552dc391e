"""The request of a search: what it says, and what is refused before anything is started."""

import json
from pathlib import Path
from typing import Any

import pytest

from launcher import requests, search, tuning_request
from launcher.errors import SettingsError
from launcher.requests import Request
from trainer.metrics import METRICS, metric_definitions


def training(**hyperparameters: Any) -> Request:
    return requests.training_job(
        name="search-1",
        image="dog-breeds-train:latest",
        channels={"training": "s3://bucket/dogs"},
        hyperparameters=hyperparameters,
        metric_definitions=metric_definitions(),
        output_uri="s3://bucket/out",
        checkpoints="s3://bucket/checkpoints",
        environment={"LOG_LEVEL": "debug"},
    )


def tuning(search_settings: search.Search | None = None, **hyperparameters: Any) -> Request:
    settings = search_settings or search.read(search.DEFAULT_FILE)
    return tuning_request.tuning_job("search-1", settings, training(**hyperparameters))


def settings_file(folder: Path, text: str) -> Path:
    file = folder / "hpo.toml"
    file.write_text(text)
    return file


def test_the_file_holds_the_originals_search() -> None:
    config = tuning()["HyperParameterTuningJobConfig"]

    assert config["Strategy"] == "Bayesian"
    assert config["HyperParameterTuningJobObjective"] == {
        "Type": "Maximize",
        "MetricName": "validation:accuracy",
    }
    assert config["ResourceLimits"] == {"MaxNumberOfTrainingJobs": 6, "MaxParallelTrainingJobs": 2}
    assert config["TrainingJobEarlyStoppingType"] == "Auto"
    assert config["ParameterRanges"] == {
        "ContinuousParameterRanges": [
            {"Name": "learning-rate", "MinValue": "0.001", "MaxValue": "0.1", "ScalingType": "Logarithmic"}
        ],
        "CategoricalParameterRanges": [{"Name": "batch-size", "Values": ["16", "32", "64", "128"]}],
        "IntegerParameterRanges": [
            {"Name": "epochs", "MinValue": "2", "MaxValue": "5", "ScalingType": "Auto"}
        ],
    }


def test_a_trial_is_the_training_job_with_its_values() -> None:
    request = tuning(backbone="efficientnet_lite0")

    definition = request["TrainingJobDefinition"]
    assert definition["StaticHyperParameters"] == {"backbone": '"efficientnet_lite0"'}
    assert definition["Environment"] == {"SAGEMAKER_PROGRAM": "hpo.py", "LOG_LEVEL": "debug"}
    assert [each["Name"] for each in definition["AlgorithmSpecification"]["MetricDefinitions"]] == [
        metric.name for metric in METRICS
    ]
    trial = tuning_request.trial(request, "search-1-001-abcd", {"learning-rate": "0.02", "epochs": "4"})
    assert trial["TrainingJobName"] == "search-1-001-abcd"
    assert trial["HyperParameters"] == {
        "backbone": '"efficientnet_lite0"',
        "learning-rate": "0.02",
        "epochs": "4",
        "_tuning_objective_metric": "validation:accuracy",
    }
    for key in ("InputDataConfig", "ResourceConfig", "CheckpointConfig", "RoleArn"):
        assert trial[key] == training()[key]


def test_everything_that_can_be_set_reaches_the_request(tmp_path: Path) -> None:
    file = settings_file(
        tmp_path,
        """
        strategy = "Hyperband"
        objective = "validation:loss"
        goal = "Minimize"
        seed = 7
        max-runtime-seconds = 600
        end = { target = 0.2, trials-without-improvement = 5, converged = true }
        hyperband = { min-epochs = 1, max-epochs = 9 }
        [ranges]
        dropout = { continuous = [0, 0.5] }
        backbone = { categorical = ["resnet50", "efficientnet_lite0"] }
        """,
    )

    request = tuning_request.tuning_job(
        "s", search.read(file, max_trials=30), training(), parents=["earlier", "earliest"]
    )

    config = request["HyperParameterTuningJobConfig"]
    assert config["HyperParameterTuningJobObjective"] == {"Type": "Minimize", "MetricName": "validation:loss"}
    assert config["ResourceLimits"] == {
        "MaxNumberOfTrainingJobs": 30,
        "MaxParallelTrainingJobs": 2,
        "MaxRuntimeInSeconds": 600,
    }
    assert config["TrainingJobEarlyStoppingType"] == "Off"  # the API takes no other with Hyperband
    assert config["StrategyConfig"] == {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 9}}
    assert config["TuningJobCompletionCriteria"] == {
        "TargetObjectiveMetricValue": 0.2,
        "BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 5},
        "ConvergenceDetected": {"CompleteOnConvergence": "Enabled"},
    }
    assert config["RandomSeed"] == 7
    assert config["ParameterRanges"]["CategoricalParameterRanges"][0]["Values"] == [
        '"resnet50"',
        '"efficientnet_lite0"',
    ]
    assert request["WarmStartConfig"] == {
        "ParentHyperParameterTuningJobs": [
            {"HyperParameterTuningJobName": "earlier"},
            {"HyperParameterTuningJobName": "earliest"},
        ],
        "WarmStartType": "TransferLearning",
    }


@pytest.mark.parametrize(
    ("ranges", "said"),
    [
        ("learning-rat = { continuous = [0.1, 0.2] }", "did you mean 'learning-rate'"),
        ("learning-rate = { continuous = [0.1, 0.1] }", "nothing to search from 0.1 to 0.1"),
        ("learning-rate = { continuous = [0.2, 0.1] }", "nothing to search from 0.2 to 0.1"),
        (
            "learning-rate = { continuous = [0.1, 1001] }",
            "learning-rate must be a number above 0 to 1000, not 1001",
        ),
        ('mixup = { continuous = [0, 1], scale = "Logarithmic" }', "begins above 0, not at 0"),
        ('mixup = { continuous = [0, 1], scale = "ReverseLogarithmic" }', "below 1"),
        ("epochs = { continuous = [2, 5] }", "epochs must be a whole number"),
        ("epochs = { integer = [0, 5] }", "epochs must be a number from 1, not 0"),
        ("batch-size = { categorical = [16, 0] }", "batch-size must be a number from 1, not 0"),
        ("batch-size = { categorical = [16, 16] }", "batch-size lists a value twice"),
        ('backbone = { categorical = ["resnet5O"] }', "did you mean 'resnet50'"),
        ("", "names no hyperparameter to search"),
    ],
)
def test_a_range_that_cannot_be_searched_is_named(tmp_path: Path, ranges: str, said: str) -> None:
    settings = search.read(settings_file(tmp_path, f"[ranges]\n{ranges}"))

    with pytest.raises(SettingsError) as refused:
        tuning(settings)

    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max-trails = 3\n[ranges]", "max-trails"),
        ("max-trials = 0\n[ranges]", "max-trials"),
        ('strategy = "Lucky"\n[ranges]', "strategy"),
        ("max-runtime-seconds = 60\n[ranges]", "max-runtime-seconds"),
        ("[ranges]\nepochs = { whole = [1, 2] }", "ranges.epochs"),
        ("[ranges]\nepochs = { integer = [1, 2], continuous = [1, 2] }", "exactly one of"),
        ('[ranges]\nepochs = { categorical = [1, 2], scale = "Linear" }', "no scale"),
        ("[ranges]\nepochs = { integer = [1.5, 2] }", "ranges.epochs"),
        ("strategy = ", "is not TOML"),
        ("", "ranges"),
    ],
)
def test_a_fault_in_the_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = settings_file(tmp_path, text)

    with pytest.raises(SettingsError, match=str(file)) as refused:
        search.read(file)

    assert said in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml cannot be read"):
        search.read(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"objective": "validation:acuracy"}, "'validation:acuracy' is not a metric of the training job"),
        ({"strategy": "Grid"}, "strategy Grid takes categorical ranges only, not learning-rate, epochs"),
        (
            {"strategy": "Hyperband", "hyperband": search.Hyperband(min_epochs=6, max_epochs=5)},
            "MinResource is above its MaxResource",
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_named(change: dict[str, Any], said: str) -> None:
    settings = search.read(search.DEFAULT_FILE).model_copy(update=change)

    with pytest.raises(SettingsError) as refused:
        tuning(settings)

    assert said in str(refused.value)


def test_a_static_hyperparameter_that_the_trainer_does_not_know_is_named() -> None:
    with pytest.raises(SettingsError, match="did you mean 'backbone'"):
        tuning(bakbone="resnet50")


CONFIG, DEFINITION = "HyperParameterTuningJobConfig", "TrainingJobDefinition"
METRICS_OF = f"{DEFINITION}.AlgorithmSpecification.MetricDefinitions"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("HyperParameterTuningJobName", "x" * 33, "HyperParameterTuningJobName"),
        ("Autotune", {"Mode": "Enabled"}, "Autotune is not known here"),
        (f"{CONFIG}.ResourceLimits", {"MaxParallelTrainingJobs": 1}, "would not end"),
        (f"{CONFIG}.ResourceLimits.MaxParallelTrainingJobs", 101, "AWS runs up to 100 trials at a time"),
        (f"{CONFIG}.ParameterRanges.AutoParameters", [{"Name": "x", "ValueHint": "1"}], "say the ranges"),
        (f"{DEFINITION}.StaticHyperParameters", {"epochs": "3"}, "epochs stands there twice"),
        (f"{CONFIG}.ParameterRanges.IntegerParameterRanges.0.MinValue", "two", "not a whole number"),
        (f"{CONFIG}.ParameterRanges.IntegerParameterRanges.0.MinValue", 2, "MinValue"),
        (f"{METRICS_OF}.0.Regex", "accuracy=[", "'accuracy=[' is not a regular expression: unterminated"),
        (f"{METRICS_OF}.0.Regex", r"accuracy=\S+", "must have one group, around the value; it has 0"),
        (f"{METRICS_OF}.0.Regex", r"(\d+)=(\S+)", "must have one group, around the value; it has 2"),
    ],
)
def test_a_request_from_elsewhere_is_checked_in_the_same_way(path: str, value: Any, said: str) -> None:
    request = json.loads(json.dumps(tuning()))
    *parents, last = path.split(".")
    place = request
    for key in parents:
        place = place[int(key)] if key.isdigit() else place[key]
    place[last] = value

    with pytest.raises(SettingsError) as refused:
        tuning_request.check(request)

    assert said in str(refused.value)
