"""The server's own checks: every file's SHA-256, the self-test, one picture answered."""

import re
from collections.abc import Iterator

from launcher import endpoint_requests
from launcher.doctor.check import Check, NotApplicable, Severity
from launcher.doctor.files import unpacks
from launcher.doctor.placed import PlacedModel
from launcher.hosting import EndpointFailed

_THERE = re.compile(r"\(/[^()]*?/model/")  # where it lies while it is served, which nobody finds afterwards


def look(model: PlacedModel) -> Iterator[str]:
    """Serve it until it is healthy."""
    if any(unpacks.look(model)):
        raise NotApplicable("the archive cannot be unpacked")
    with model.folder() as folder:
        if not (folder / "artifact.json").is_file():
            yield "there is no artifact.json in it: it is no model, or not the folder of one"
            return
    with model.archive() as archive:
        requests = endpoint_requests.on_this_machine(model.image, archive)
        try:
            with model.backend.deploy(*requests, port=0, on_line=lambda _: None):
                pass
        except EndpointFailed as error:
            said = [line for line in str(error).splitlines() if line.startswith("serve: ")]
            yield _THERE.sub("(", said[-1].removeprefix("serve: ") if said else str(error))


CHECK = Check(
    name="serves",
    holds="every file is as artifact.json says, the self-test passes, and a picture is answered",
    severity=Severity.ERROR,
    remedy="copy or unpack it again; if that does not help, train again",
    source="docs/artifact.md",
    look=look,
)
