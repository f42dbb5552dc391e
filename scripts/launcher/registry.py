"""Pushing images to ECR or any other registry, and proving that SageMaker will take them.

Called by `push_images.py` (`make push`). SageMaker and Lambda accept one kind of manifest only, docker's
version 2 schema 2; a builder that adds a provenance attestation makes an OCI index of it, which they refuse
long after the push. So the manifest is read back from the registry and judged here.
"""

import base64
import hashlib
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import boto3
import httpx
from botocore.exceptions import BotoCoreError, ClientError
from docker.auth import load_config
from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from launcher.errors import SettingsError, WorkFailed

ACCEPTED = "application/vnd.docker.distribution.manifest.v2+json"
KINDS = {
    ACCEPTED: "a docker v2 schema 2 manifest",
    "application/vnd.docker.distribution.manifest.list.v2+json": "a docker manifest list",
    "application/vnd.oci.image.index.v1+json": "an OCI image index",
    "application/vnd.oci.image.manifest.v1+json": "an OCI image manifest",
}
ECR_HOST = re.compile(r"(?P<account>\d{12})\.dkr\.ecr(-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?")
PUSH_TIMEOUT = 900  # seconds without a word from the engine


class ManifestError(WorkFailed):
    """SageMaker would refuse the image; the message says how to build one that it takes."""


@dataclass(frozen=True)
class Manifest:
    """What a registry serves under a name: its media type, and the digest of its bytes."""

    media_type: str
    digest: str


@dataclass(frozen=True)
class Registry:
    """A place for images: its host, the path that repositories have there, and how to log in."""

    host: str
    path: str = ""  # "owner" of ghcr.io/owner
    secure: bool = True
    credentials: tuple[str, str] | None = field(default=None, repr=False)  # never printed

    def repository(self, image: str) -> str:
        """Return the repository for a local image's name, less that image's own tag and registry."""
        name = re.sub(r":[\w.-]+$", "", image)
        first, slash, rest = name.partition("/")
        if slash and ("." in first or ":" in first or first == "localhost"):
            name = rest
        return f"{self.path}/{name}" if self.path else name

    def prepare(self, repository: str) -> None:
        """Make ready for a push: most registries create a repository with the first one."""

    def manifest(self, repository: str, reference: str) -> Manifest:
        """Ask for a manifest by tag or digest, accepting every kind, so that none is converted for us."""
        url = f"{'https' if self.secure else 'http'}://{self.host}/v2/{repository}/manifests/{reference}"
        headers = {"Accept": ", ".join(KINDS)}
        try:
            with httpx.Client(timeout=30, follow_redirects=True, auth=self.credentials) as client:
                answer = client.get(url, headers=headers)
                if answer.status_code == 401 and (token := self._bearer_token(client, answer)):
                    answer = client.get(
                        url, headers=headers | {"Authorization": f"Bearer {token}"}, auth=None
                    )
                answer.raise_for_status()
        except httpx.HTTPError as error:
            raise WorkFailed(f"the manifest of {repository} cannot be read back: {error}") from error
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        return Manifest(media_type, "sha256:" + hashlib.sha256(answer.content).hexdigest())

    def _bearer_token(self, client: httpx.Client, refusal: httpx.Response) -> str:
        """Fetch the token that a registry such as Docker Hub asks for, or return ""."""
        challenge = refusal.headers.get("WWW-Authenticate", "")
        fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        if not challenge.lower().startswith("bearer ") or "realm" not in fields:
            return ""
        realm = fields.pop("realm")
        answer = client.get(realm, params=fields)
        answer.raise_for_status()
        content = answer.json()
        return str(content.get("token") or content.get("access_token") or "")


@dataclass(frozen=True)
class EcrRegistry(Registry):
    """Amazon ECR, where a repository has to exist before the push."""

    client: Any = field(default=None, repr=False)

    def prepare(self, repository: str) -> None:
        """Create the repository if needed, with a vulnerability scan of every pushed image."""
        account = self.host.partition(".")[0]
        try:
            self.client.describe_repositories(registryId=account, repositoryNames=[repository])
        except self.client.exceptions.RepositoryNotFoundException:
            try:
                self.client.create_repository(
                    registryId=account,
                    repositoryName=repository,
                    imageScanningConfiguration={"scanOnPush": True},
                )
            except self.client.exceptions.RepositoryAlreadyExistsException:
                return  # somebody else was quicker
            except ClientError as error:
                raise WorkFailed(f"the repository {repository} cannot be created: {error}") from error
        except ClientError as error:
            raise WorkFailed(f"the repository {repository} cannot be looked up: {error}") from error


def open_registry(name: str, engine: Any) -> Registry:
    """Return the registry of a name: `ecr`, an ECR host, or HOST[:PORT][/PATH]. Logs in where it is ECR."""
    host, _, path = name.strip("/").partition("/")
    if host == "ecr" or ECR_HOST.fullmatch(host):
        return _open_ecr(host, path)
    if not re.fullmatch(r"[\w.-]+(:\d+)?", host):
        raise SettingsError(f"{name!r} is no registry: give ecr, an ECR host name or HOST[:PORT][/PATH]")
    return Registry(host, path, secure=not _is_insecure(host, engine), credentials=_stored_login(host))


def _stored_login(host: str) -> tuple[str, str] | None:
    """Return what `docker login` left for a host, credential helpers included."""
    try:
        login = load_config().resolve_authconfig(host) or {}
    except DockerException as error:
        raise SettingsError(f"the stored login for {host} cannot be read: {error}") from error
    entries = {key.lower(): value for key, value in login.items()}
    user, password = entries.get("username"), entries.get("password")
    return (user, password) if user and password else None


def _open_ecr(host: str, path: str) -> EcrRegistry:
    """Get ECR's authorization token; account and region come from the host, or from the session for `ecr`."""
    match = ECR_HOST.fullmatch(host)
    try:
        client = boto3.Session().client("ecr", region_name=match["region"] if match else None)
        data = client.get_authorization_token()["authorizationData"][0]
    except BotoCoreError as error:
        raise SettingsError(
            f"AWS cannot be asked: {error} (aws configure, or AWS_PROFILE and AWS_REGION)"
        ) from error
    except ClientError as error:
        raise WorkFailed(f"ECR gives no login: {error}") from error
    user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    own_host = data["proxyEndpoint"].removeprefix("https://")
    return EcrRegistry(host if match else own_host, path, credentials=(user, password), client=client)


def _is_insecure(host: str, engine: Any) -> bool:
    """Tell whether the engine speaks plain HTTP to a registry: loopback, or so configured."""
    configuration = engine.info().get("RegistryConfig") or {}
    if host in (configuration.get("IndexConfigs") or {}):
        return not configuration["IndexConfigs"][host]["Secure"]
    address = host.partition(":")[0]
    if address == "localhost":
        return True
    try:
        networks = map(ipaddress.ip_network, configuration.get("InsecureRegistryCIDRs") or ["127.0.0.0/8"])
        return any(ipaddress.ip_address(address) in network for network in networks)
    except ValueError:  # a name, not an address
        return False


def check_media_type(name: str, media_type: str) -> None:
    """Raise ManifestError on anything but the one kind of manifest that SageMaker takes."""
    if media_type != ACCEPTED:
        kind = KINDS.get(media_type, "of an unknown kind")
        raise ManifestError(
            f"SageMaker would refuse {name}: its manifest is {kind} ({media_type}) and has to be "
            f"{KINDS[ACCEPTED]}. Build it again with --provenance=false --sbom=false, then push again"
        )


def find_image(engine: Any, name: str) -> Any:
    """Return a local image, checked as far as the engine tells its manifest's kind before a push."""
    try:
        image = engine.images.get(name)
    except ImageNotFound as error:
        raise SettingsError(f"there is no image {name} here: `make build` makes it") from error
    descriptor = image.attrs.get("Descriptor") or {}  # only engines with containerd's image store
    if media_type := descriptor.get("mediaType"):
        check_media_type(name, media_type)
    return image


def push_image(image: Any, registry: Registry, repository: str, tag: str) -> str:
    """Tag a local image, push it, and return `NAME:TAG@DIGEST` once its manifest was read back and approved.

    Raises ManifestError or WorkFailed.
    """
    registry.prepare(repository)
    full_name = f"{registry.host}/{repository}"
    login = registry.credentials and dict(zip(("username", "password"), registry.credentials, strict=True))
    try:
        image.tag(full_name, tag)
        events = image.client.images.push(full_name, tag, stream=True, decode=True, auth_config=login)
        _follow(events, f"{full_name}:{tag}")
    except (APIError, RequestException) as error:
        raise WorkFailed(f"{full_name}:{tag} cannot be pushed: {error}") from error
    manifest = registry.manifest(repository, tag)
    check_media_type(f"{full_name}:{tag}", manifest.media_type)
    return f"{full_name}:{tag}@{manifest.digest}"


def _follow(events: Iterable[dict[str, Any]], name: str) -> None:
    """Show a push layer by layer; raise WorkFailed on what the engine reports in mid-stream."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        layers = {}
        for event in events:
            if "error" in event:
                raise WorkFailed(f"{name} cannot be pushed: {event['error']}")
            layer, detail = event.get("id"), event.get("progressDetail") or {}
            if layer and detail.get("total"):
                if layer not in layers:
                    layers[layer] = progress.add_task(f"{name} {layer}", total=detail["total"])
                progress.update(layers[layer], completed=detail["current"], total=detail["total"])
