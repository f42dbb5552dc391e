"""config/settings.toml, and the names that follow from it."""

import re
import tomllib
from pathlib import Path

import pytest

from launcher import revision, settings
from launcher.account import UNKNOWN, Account
from launcher.errors import SettingsError
from launcher.settings import DEFAULT_FILE, Settings


def written(folder: Path, text: str) -> Path:
    file = folder / "settings.toml"
    file.write_text(text)
    return file


def test_the_file_holds_every_key_with_its_default() -> None:
    shipped = settings.read(DEFAULT_FILE)

    assert shipped == Settings()
    assert _keys(tomllib.loads(DEFAULT_FILE.read_text())) == _keys(Settings().model_dump(by_alias=True))


def test_where_no_zones_are_known_each_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoneinfo.available_timezones", set)

    read = settings.read(written(tmp_path, '[endpoint]\ntimezone = "Europe/Atlantis"'))

    assert read.endpoint.timezone == "Europe/Atlantis"


def _keys(table: dict[str, object], prefix: str = "") -> set[str]:
    keys = {prefix + name for name in table}
    tables = {name: each for name, each in table.items() if isinstance(each, dict)}
    return keys.union(*(_keys(each, f"{prefix}{name}.") for name, each in tables.items()))


def test_every_key_says_what_it_is_for() -> None:
    keys = [line for line in DEFAULT_FILE.read_text().splitlines() if re.match(r"[a-z-]+ = ", line)]

    assert len(keys) > 15
    assert [line for line in keys if "#" not in line] == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[training]\nvolume-gb = 0", "training.volume-gb: Input should be greater than 0"),
        ('[training]\nvolume-gb = "50"', "training.volume-gb: Input should be a valid integer"),
        ("[explain]\nmax-runtime-seconds = 777601", "max-runtime-seconds: Input should be less than or"),
        ("[training]\nvolumes = 1", "training.volumes: Extra inputs are not permitted"),
        ('project = "Dogs"', "project: String should match pattern"),
        ('account = "12"', "account: String should match pattern"),
        ('[endpoint]\ninstance-type = "m5.large"', "endpoint.instance-type: String should match pattern"),
        ('[storage]\nbucket = "My Bucket"', "storage.bucket: S3 has no bucket 'My Bucket': 3 to 63 small"),
        ('[storage]\nbucket = "a..b"', "storage.bucket: S3 has no bucket 'a..b'"),
        ('[storage]\nbucket = "192.168.0.1"', "storage.bucket: S3 has no bucket '192.168.0.1'"),
        ('[images]\ntrain = "Bad Name"', "images.train: String should match pattern"),
        ('[images]\ntag = "a b"', "images.tag: String should match pattern"),
        ('[tags]\n"aws:x" = "y"', "tags that begin with aws: are AWS's own"),
        ('[tags]\nteam = "a!"', "tags.team: String should match pattern"),
        ('[network]\nsubnets = ["subnet-1"]', "network: subnets and security-groups are needed together"),
        ("[training]\nwarm-pool-seconds = 60", "training: spot instances cannot be kept warm"),
        ("[training]\nmax-wait-seconds = 60", "training: max-wait-seconds includes the running"),
        (
            '[endpoint]\ntimezone = "Europe/Atlantis"',
            "endpoint.timezone: there is no time zone 'Europe/Atlantis'",
        ),
        ("x = ", "is not TOML"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(fault)):
        settings.read(written(tmp_path, text))


def test_what_is_left_empty_follows_from_account_and_region() -> None:
    account = Account(Settings(account="123456789012", region="eu-central-1", tags={"team": "vision"}))

    assert account.bucket == "dog-breeds-123456789012-eu-central-1"
    assert account.uri("data", "dogs") == "s3://dog-breeds-123456789012-eu-central-1/data/dogs"
    assert account.role == "arn:aws:iam::123456789012:role/dog-breeds-execution"
    repository = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/dog-breeds-serve"
    assert account.image("serve") == f"{repository}:{revision.of_images()}"
    assert account.tags == [
        {"Key": "team", "Value": "vision"},
        {"Key": "project", "Value": "dog-breeds"},
    ]


def test_other_partitions_have_their_own_names() -> None:
    account = Account(Settings(account="123456789012", region="cn-north-1"))

    assert account.role.startswith("arn:aws-cn:iam::")
    assert account.image("train").startswith("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/")


def test_a_region_that_does_not_exist_is_named() -> None:
    account = Account(Settings(account="123456789012", region="moon-1"))

    with pytest.raises(SettingsError, match="AWS has no region 'moon-1'"):
        assert account.role


def test_without_credentials_an_account_is_made_up_only_where_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    said: list[str] = []
    nobodys = Settings(region="eu-central-1")

    with pytest.raises(SettingsError, match="no AWS region is set"):
        _ = Account(Settings(), guess=said.append).bucket
    assert said == []

    assert Account(nobodys, guess=said.append).bucket == f"dog-breeds-{UNKNOWN}-eu-central-1"
    assert said[0].startswith(
        f"the account is not known, and shown as {UNKNOWN}: there are no AWS credentials"
    )
    with pytest.raises(SettingsError, match="there are no AWS credentials"):
        _ = Account(nobodys).bucket
