"""Options that a script would ignore, and values that AWS would refuse: both are refused at once."""

import pytest
import script


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        ("costs", "--minutes 5", "--minutes: only with --request"),
        ("costs", "--job dogs --instance-type ml.m5.large", "--instance-type: only with --refresh"),
        (
            "costs",
            "--settings a.toml --dry-run",
            "--dry-run, --settings: only --refresh, --job and --endpoint",
        ),
        ("costs", "--job dogs --prices a.toml", "--prices: not with --job, which takes the price of"),
        ("batch_transform", "photos --backend aws --stop a", "--stop excludes FOLDER|s3://…: what it names"),
        ("explain", "a.jpg --backend aws --attach a", "--attach excludes FILE|FOLDER|s3://…: what it names"),
        ("explain", "--backend aws --attach a --dry-run", "--attach excludes --dry-run: what it names"),
        ("launch_hpo", "--stop a", "--stop is for --backend aws: a search on this machine ends with Ctrl-C"),
        ("doctor", "image --memory banana", "'banana' is no size from 6m on, such as 512m or 4g"),
        ("doctor", "image --memory 5m", "'5m' is no size from 6m on, such as 512m or 4g"),
        ("doctor", "--json", "name an IMAGE, or what else is examined: --environment, --artifact"),
        ("doctor", "image --data a", "argument --data: not allowed with argument IMAGE"),
        ("doctor", "image --fix --backend docker", "--backend, --fix: not with IMAGE"),
        ("doctor", "--data a --memory 2g", "--memory: not with --data"),
        ("doctor", "--environment --model a --network", "--model, --network: not with --environment"),
        ("doctor", "--artifact a --settings a.toml", "--settings: not with --artifact"),
        ("deploy", "--memory banana", "'banana' is no size from 6m on, such as 512m or 4g"),
        ("prepare_data", "--settings a.toml", "--settings: only with --upload"),
        ("launch_training", "--data x --settings a.toml", "--settings: only --backend aws takes this"),
        (
            "launch_training",
            "--backend aws --data s3://dogs/dogs --epochs -3",
            "epochs must be a number from 1",
        ),
        ("launch_training", "--backend process --data x --batch-size 0", "size must be a number from 1"),
        ("launch_training", "--data x --backbone resnet5O", "did you mean 'resnet50'?"),
        ("launch_training", "--data x --set nosuch=3 --image a:b", "(a:b has to be a build of this"),
        (
            "launch_training",
            "--backend aws --data s3://dogs/a --set sagemaker_container_log_level=20 --max-runtime 9999999",
            "max-runtime-seconds: Input should be less than or equal to 2419200",
        ),
        ("launch_hpo", "--backend aws --data s3://dogs/dogs --epochs 0", "epochs must be a number from 1"),
        ("monitor", "--email bad", "'bad' is no address such as you@example.com"),
        ("monitor", "--email you@example", "'you@example' is no address such as you@example.com"),
        ("monitor", "--logs errors --email you@example.com", "--email: not with --logs, which only looks"),
        ("monitor", "--logs slow --hours nan", "--hours: 'nan' is no number from 0.01 to 87840"),
        ("monitor", "--logs slow --hours 1e9", "--hours: '1e9' is no number from 0.01 to 87840"),
        ("monitor", "--logs slow --hours=-1", "--hours: '-1' is no number from 0.01 to 87840"),
        ("costs", "--request a.json --minutes inf", "--minutes: 'inf' is no number from 0.01"),
        ("deploy", "--cpus nan", "--cpus: 'nan' is no number from 0.01"),
        ("deploy", "--backend aws --capture 101", "--capture: '101' is no whole number from 1 to 100"),
        ("ui", "--port 65536", "--port: '65536' is no whole number from 0 to 65535"),
        ("launch_training", "--backend aws --data s3://a..b/x", "S3 has no bucket 'a..b': 3 to 63 small"),
        ("launch_hpo", "--backend aws --data s3://dogs/x --s3-output s3://-a/x", "S3 has no bucket '-a'"),
        ("prepare_data", "--data x --upload --to s3://192.168.0.1/x", "S3 has no bucket '192.168.0.1'"),
        ("invoke", "s3://Dogs/a.jpg", "S3 has no bucket 'Dogs'"),
        ("batch_transform", "s3://a_b/photos --backend aws", "S3 has no bucket 'a_b'"),
        (
            "explain",
            "a.jpg --model s3://dogs/prefix",
            "s3://dogs/prefix: a model in S3 is one archive, such as",
        ),
        ("deploy", "--backend aws --variant A=s3://dogs/a:2", "s3://dogs/a: a model in S3 is one archive"),
        ("deploy", "--backend aws --multi-model s3://dogs/m", "'s3://dogs/m' is no prefix that ends with a"),
        (
            "batch_transform",
            "s3://dogs/a --backend aws --instance-type m5.large",
            "'m5.large' is none of SageMaker",
        ),
        (
            "launch_training",
            "--backend aws --data s3://dogs/a --instance-type p5",
            "'p5' is none of SageMaker's",
        ),
        ("costs", "--refresh --instance-type t3.micro", "'t3.micro' is none of SageMaker's"),
        ("demo", "--data x --stage build=nan", "--stage: 'nan' is no number from 0"),
        ("demo", "--data x --clients many", "--clients: 'many' is no whole number from 1"),
        ("launch_training", "--backend aws --data s3://dogs/d --warm-pool 9999", "'9999' is no whole number"),
        ("deploy", "--backend aws --delete=", "--delete: '' is no name: is a variable of the shell not set?"),
        ("deploy", "--backend aws --attach=", "--attach: '' is no name: is a variable of the shell not set?"),
        ("costs", "--endpoint=", "--endpoint: '' is no name: is a variable of the shell not set?"),
        ("monitor", "--endpoint=", "--endpoint: '' is no name: is a variable of the shell not set?"),
        (
            "invoke",
            "a.jpg --endpoint-name=",
            "--endpoint-name: '' is no name: is a variable of the shell not set?",
        ),
        ("explain", "--backend aws --stop=", "--stop: '' is no name: is a variable of the shell not set?"),
        (
            "launch_hpo",
            "--data x --job-name=",
            "--job-name: '' is no name: is a variable of the shell not set?",
        ),
        ("monitor", "--drift --dry-run", "--dry-run: not with --drift, which only looks"),
        ("monitor", "--open --hours 5", "--hours: not with --open, which only looks"),
        ("monitor", "--hours 5 --plot a.png", "--hours, --plot: only --logs and --drift look back"),
    ],
)
def test_what_would_be_ignored_or_refused_later_is_refused_at_once(name: str, line: str, said: str) -> None:
    ended = script.run(name, *line.split())

    assert (ended.returncode, said in ended.stderr) == (2, True), ended.stderr
