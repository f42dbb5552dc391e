"""With EnableNetworkIsolation, as config/settings.toml has it, containers have no network."""

from collections.abc import Iterator

from launcher.doctor.check import AWS, Check, NotApplicable, Severity
from launcher.doctor.examined_image import ExaminedImage


def look(image: ExaminedImage) -> Iterator[str]:
    image.must_serve()
    if image.serving.start.healthy_after is None:
        raise NotApplicable("its endpoint does not become healthy; --network lets it try with a network")
    if image.serving.networked:
        yield "it becomes healthy only with a network"


CHECK = Check(
    name="network",
    holds="`serve` needs no network",
    severity=Severity.WARNING,
    remedy="bring what it downloads in the image or with the model, or set network.isolation = false",
    source=f"{AWS}/mkt-algo-model-internet-free.html",
    look=look,
)
