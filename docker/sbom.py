#!/usr/bin/env python3
"""Writes an image's bill of materials, CycloneDX 1.6, to standard output: `docker/build.sh` ends with it.

  docker/sbom.py dog-breeds-serve:latest >build/dog-breeds-serve.cdx.json

The list is made inside the image, without a network and without any right, so that it is what is there and
not what was asked for. It lies beside the image, not in it: an image that holds its own description would
be changed by it. The same image gives the same file. Python's standard library only.
"""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

INVENTORY = Path(__file__).with_name("inventory.py")
ISOLATION = ("--network", "none", "--read-only", "--cap-drop", "ALL", "--user", "65534:65534")
NAMESPACE = uuid.UUID("6f1c5e0e-7f0c-5a53-9d0b-2f6a3f0a7c11")


def inspect(docker: str, image: str) -> dict[str, Any]:
    """What the engine knows of the image."""
    shown = subprocess.run([docker, "image", "inspect", image], capture_output=True, text=True, check=True)
    (found,) = json.loads(shown.stdout)
    return dict(found)


def inventory(docker: str, image: str) -> list[dict[str, str]]:
    """What `inventory.py` finds inside the image."""
    command = [docker, "run", "--rm", "--interactive", *ISOLATION, "--entrypoint", "python", image, "-"]
    shown = subprocess.run(command, input=INVENTORY.read_bytes(), capture_output=True, check=True)
    return list(json.loads(shown.stdout))


def component(found: dict[str, str]) -> dict[str, Any]:
    """One part of the image in CycloneDX's words."""
    part: dict[str, Any] = {
        "type": "application" if found["purl"].startswith("pkg:generic/") else "library",
        "bom-ref": found["purl"],
        "name": found["name"],
        "version": found["version"],
        "purl": found["purl"],
    }
    licence = found.get("licence", "").strip().partition("\n")[0]
    return part | ({"licenses": [{"license": {"name": licence}}]} if licence else {})


def bill(image: dict[str, Any], name: str, parts: list[dict[str, str]]) -> dict[str, Any]:
    """The whole document."""
    labels = image["Config"]["Labels"] or {}
    version = labels.get("org.opencontainers.image.version", "unknown")
    content = {
        "type": "container",
        "bom-ref": f"image:{name}",
        "name": name,
        "version": version,
        "hashes": [{"alg": "SHA-256", "content": image["Id"].removeprefix("sha256:")}],
    }
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, image['Id'])}",
        "version": 1,
        "metadata": {"timestamp": image["Created"].partition(".")[0].rstrip("Z") + "Z", "component": content},
        "components": [component(part) for part in parts],
        "dependencies": [{"ref": f"image:{name}", "dependsOn": [part["purl"] for part in parts]}],
    }


def main() -> int:
    """Read the command line, write, return the exit code."""
    if len(sys.argv) != 2:
        print("usage: docker/sbom.py IMAGE", file=sys.stderr)
        return 2
    docker, image = os.environ.get("DOCKER") or "docker", sys.argv[1]
    try:
        content = bill(inspect(docker, image), image.partition(":")[0], inventory(docker, image))
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        reason = said.decode(errors="replace") if isinstance(said, bytes) else said
        print(f"sbom.py: {image} cannot be listed: {reason.strip()}", file=sys.stderr)
        return 1
    json.dump(content, sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
