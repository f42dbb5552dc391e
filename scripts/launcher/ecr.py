"""Amazon ECR as a registry that images are pushed to: its login, its repositories, and tags that never move.

Called by `push_images.py`.
"""

import base64
import re
from dataclasses import dataclass, field, replace
from typing import Any

from launcher import repositories, requests, revision
from launcher.account import Account
from launcher.calls import Call
from launcher.command_line import tell
from launcher.errors import SettingsError
from launcher.registry import Registry

NAME = "ecr"  # the settings' own
LOGIN = Call(NAME, "GetAuthorizationToken", {})
HOST = re.compile(r"(?P<account>\d{12})\.dkr\.ecr(-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?")


@dataclass(frozen=True)
class EcrRegistry(Registry):
    """The registry of an account and a region."""

    account: Account | None = field(default=None, repr=False)

    @property
    def owner(self) -> Account:
        """Whose it is."""
        assert self.account is not None  # noqa: S101 - a default only because the fields before it have one
        return self.account

    def repository(self, image: str) -> str:
        """Return the settings' repository of either image, and for any other what every registry has."""
        name = super().repository(image)
        images = self.owner.settings.images
        own = {requests.TRAINING_IMAGE: images.train, requests.SERVING_IMAGE: images.serve}
        by_name = {image.partition(":")[0]: repository for image, repository in own.items()}
        return by_name.get(name, name)

    def prepare(self, repository: str, tag: str, image: Any) -> bool:
        """Make the repository where there is none; returns whether the image is there under the tag already.

        Raises SettingsError where the tag is another image's.
        """
        wanted = repositories.wanted(self.owner, repository)
        if wanted.is_there.look.ask(self.owner, wanted.is_there.absent) is None:
            wanted.repair(self.owner, tell)
            return False
        found = self.find(repository, tag)
        if found is None:
            return False
        if image.id not in {found.digest, found.config}:
            raise SettingsError(
                f"{repository}:{tag} is another image already, and tags do not move: commit what has "
                "changed and `make build`, or give it a tag of its own (--tag, images.tag in the settings)"
            )
        return True


def is_ecr(name: str) -> bool:
    """Tell whether a registry's name is `ecr` or a host of it."""
    host = name.strip("/").partition("/")[0]
    return host == NAME or HOST.fullmatch(host) is not None


def closed_ecr(name: str, account: Account) -> EcrRegistry:
    """Return `ecr`, which is the settings' account and region, or a host that names its own; no login yet."""
    host, _, path = name.strip("/").partition("/")
    if match := HOST.fullmatch(host):
        place = {"account": match["account"], "region": match["region"]}
        account = Account(account.settings.model_copy(update=place), foreign=True)
    return EcrRegistry(host, path, account=account)


def calls(name: str, account: Account, images: list[str]) -> list[Call]:
    """Return what is asked of ECR to push images where there are no repositories yet."""
    registry = closed_ecr(name, account)
    wanted = [repositories.wanted(registry.owner, registry.repository(image)) for image in images]
    return [LOGIN, *(call for repository in wanted for call in repository.calls)]


def open_ecr(name: str, account: Account) -> EcrRegistry:
    """Log in to `ecr` or to a host of it."""
    registry = closed_ecr(name, account)
    data = LOGIN.send(registry.owner)["authorizationData"][0]
    user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    scheme, _, own_host = data["proxyEndpoint"].partition("://")
    return replace(
        registry,
        host=own_host if registry.host == NAME else registry.host,
        secure=scheme == "https",
        credentials=(user, password),
    )


def tag_of(account: Account, images: list[tuple[str, Any]], given: str | None) -> str:
    """Return the tag for images by their names: the one given, or the settings', which has to be the truth.

    Raises SettingsError for an image that was not built from the revision that its tag would name.
    """
    tag = given or account.tag
    if tag != account.tag:
        tell(f"jobs take the tag {account.tag}: images.tag in the settings makes them take {tag}")
    elif not account.settings.images.tag:
        for name, image in images:
            revision.check(name, image.labels.get(revision.LABEL))
    return tag


def check_architecture(account: Account, name: str, image: Any) -> None:
    """Raise SettingsError for one of the two images that its instances could not run."""
    types = {
        requests.TRAINING_IMAGE: account.settings.training.instance_type,
        requests.SERVING_IMAGE: account.settings.endpoint.instance_type,
    }
    by_name = {each.partition(":")[0]: instance_type for each, instance_type in types.items()}
    instance_type = by_name.get(name.partition(":")[0])
    if instance_type is None:
        return
    # Graviton's families have a g behind their generation: ml.c7g, ml.m6gd, but ml.g4dn.
    wanted = "arm64" if re.match(r"ml\.[a-z]+\d+g", instance_type) else "amd64"
    found = image.attrs["Architecture"]
    if found != wanted:
        raise SettingsError(
            f"{name} is built for {found}, and {instance_type} is {wanted}: "
            f"`make build push PLATFORM=linux/{wanted}`"
        )
