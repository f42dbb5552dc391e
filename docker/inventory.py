"""Lists what an image holds, as JSON: run inside it by `docker/sbom.py`, with the image's own Python.

Debian's packages, Python's distributions, and what came without a package's record: Java, nginx, and the
libraries inside multi-model-server's single jar.
"""

import importlib.metadata
import json
import re
import subprocess
import zipfile
from pathlib import Path

Component = dict[str, str]


def debian() -> list[Component]:
    """The installed packages, from dpkg's own file."""
    found = []
    for paragraph in Path("/var/lib/dpkg/status").read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^(\S+): (.*)$", paragraph, flags=re.MULTILINE))
        if fields.get("Status") == "install ok installed":
            name, version, machine = fields["Package"], fields["Version"], fields["Architecture"]
            purl = f"pkg:deb/debian/{name}@{version}?arch={machine}&distro=debian-12"
            found.append({"name": name, "version": version, "purl": purl})
    return found


def python() -> list[Component]:
    """The distributions that can be imported."""
    found = {}
    for distribution in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        fields = distribution.metadata
        licence = fields.get("License-Expression") or fields.get("License") or ""
        purl = f"pkg:pypi/{name}@{distribution.version}"
        found[name] = {"name": name, "version": distribution.version, "purl": purl, "licence": licence}
    return list(found.values())


def programs() -> list[Component]:
    """Java and nginx, which were copied from where they had been a package."""
    found = []
    release = Path("/opt/java/release")
    if release.is_file():
        version = dict(re.findall(r'^(\w+)="(.*)"$', release.read_text(), flags=re.MULTILINE))["JAVA_VERSION"]
        found.append({"name": "openjdk", "version": version, "purl": f"pkg:generic/openjdk@{version}"})
    if Path("/usr/sbin/nginx").is_file():
        shown = subprocess.run(["/usr/sbin/nginx", "-v"], capture_output=True, text=True, check=True).stderr
        version = shown.strip().rpartition("/")[2]
        found.append({"name": "nginx", "version": version, "purl": f"pkg:generic/nginx@{version}"})
    return found


def jar() -> list[Component]:
    """What libraries say of themselves in multi-model-server's jar: Netty's parts, and Maven's records."""
    found = {}
    for file in Path("/opt/venv").glob("lib/python3*/site-packages/mms/frontend/*.jar"):
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():  # several have one name: Netty's parts each brought their own
                if entry.filename.endswith("pom.properties"):
                    fields = dict(
                        re.findall(r"^(\w+)=(\S+)", archive.read(entry).decode(), flags=re.MULTILINE)
                    )
                    found[f"{fields['groupId']}/{fields['artifactId']}"] = fields["version"]
                elif entry.filename.endswith("io.netty.versions.properties"):
                    text = archive.read(entry).decode()
                    for library, version in re.findall(
                        r"^([\w-]+)\.version=(\S+)$", text, flags=re.MULTILINE
                    ):
                        found[f"io.netty/{library}"] = version
    return [
        {"name": name.partition("/")[2], "version": version, "purl": f"pkg:maven/{name}@{version}"}
        for name, version in found.items()
    ]


if __name__ == "__main__":
    components = [*debian(), *python(), *programs(), *jar()]
    print(json.dumps(sorted(components, key=lambda component: component["purl"])))
