"""Pushing images to ECR or any other registry, and proving that SageMaker will take them.

Called by `push_images.py` (`make push`). SageMaker and Lambda accept one kind of manifest only, docker's
version 2 schema 2; a builder that adds a provenance attestation makes an OCI index of it, which they refuse
long after the push. So the manifest is read back from the registry and judged here.
"""

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
from docker.auth import load_config
from docker.errors import APIError, DockerException
from requests.exceptions import RequestException
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from launcher import docker_engine
from launcher.errors import SettingsError, WorkFailed

ACCEPTED = "application/vnd.docker.distribution.manifest.v2+json"
KINDS = {
    ACCEPTED: "a docker v2 schema 2 manifest",
    "application/vnd.docker.distribution.manifest.list.v2+json": "a docker manifest list",
    "application/vnd.oci.image.index.v1+json": "an OCI image index",
    "application/vnd.oci.image.manifest.v1+json": "an OCI image manifest",
}
PUSH_TIMEOUT = 900  # seconds without a word from the engine


class ManifestError(WorkFailed):
    """SageMaker would refuse the image; the message says how to build one that it takes."""


@dataclass(frozen=True)
class Manifest:
    """What a registry serves under a name: its media type, the digest of its bytes, and its image's."""

    media_type: str
    digest: str
    config: str = ""  # a plain manifest's image ID; an index has none


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

    def prepare(self, _repository: str, _tag: str, _image: Any) -> bool:
        """Make ready for a push; returns whether there is nothing to push. Here a push does all by itself."""
        return False

    def manifest(self, repository: str, reference: str) -> Manifest:
        """Ask for a manifest by tag or digest; raises WorkFailed where there is none."""
        found = self.find(repository, reference)
        if found is None:
            raise WorkFailed(f"the manifest of {repository}:{reference} cannot be read back: there is none")
        return found

    def find(self, repository: str, reference: str) -> Manifest | None:
        """Ask for a manifest, accepting every kind, so that none is converted for us; None for none."""
        url = f"{'https' if self.secure else 'http'}://{self.host}/v2/{repository}/manifests/{reference}"
        headers = {"Accept": ", ".join(KINDS)}
        try:
            with httpx.Client(timeout=30, follow_redirects=True, auth=self.credentials) as client:
                answer = client.get(url, headers=headers)
                if answer.status_code == 401 and (token := self._bearer_token(client, answer)):
                    answer = client.get(
                        url, headers=headers | {"Authorization": f"Bearer {token}"}, auth=None
                    )
                if answer.status_code == 404:
                    return None
                answer.raise_for_status()
        except httpx.HTTPError as error:
            raise WorkFailed(f"the manifest of {repository} cannot be read back: {error}") from error
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        digest = "sha256:" + hashlib.sha256(answer.content).hexdigest()
        return Manifest(media_type, digest, json.loads(answer.content).get("config", {}).get("digest", ""))

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


def open_registry(name: str, engine: Any) -> Registry:
    """Return the registry of a name, HOST[:PORT][/PATH]; `ecr` is opened by the module of that name."""
    host, _, path = name.strip("/").partition("/")
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
    image = docker_engine.find(engine, name, how="`make build` makes it")
    descriptor = image.attrs.get("Descriptor") or {}  # only engines with containerd's image store
    if media_type := descriptor.get("mediaType"):
        check_media_type(name, media_type)
    return image


def push_image(image: Any, registry: Registry, repository: str, tag: str) -> str:
    """Tag a local image, push it, and return `NAME:TAG@DIGEST` once its manifest was read back and approved.

    Raises ManifestError or WorkFailed.
    """
    full_name = f"{registry.host}/{repository}"
    if registry.prepare(repository, tag, image):
        return f"{full_name}:{tag}@{registry.manifest(repository, tag).digest}"
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
