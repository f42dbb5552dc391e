"""Where a container listens, and why the platform would not find it there.

Read by `first_process`, noted by `watch`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

BIND = "SAGEMAKER_BIND_TO_PORT"
_LISTEN = "0A"
_RESOLVER = ip_address("127.0.0.11")  # the engine's own, in each container of a private network


@dataclass(frozen=True, order=True)
class Place:
    """An address of the container's, and a port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def inside(self) -> bool:
        """Whether only the container itself can ask there."""
        return ip_address(self.address).is_loopback


@dataclass(frozen=True)
class Listening:
    """The places, and the port that the container's environment names, or ""."""

    places: tuple[Place, ...] = ()
    told: str = ""

    def amiss(self, port: int) -> str:
        """Return why nothing will ever answer outside on a port where that is plain, or ""."""
        there = [place for place in self.places if place.port == port]
        if there:
            inside = f"it listens on {there[0]} alone, inside the container: on 0.0.0.0 it can be asked"
            return inside if all(place.inside for place in there) else ""
        if any(str(place.port) == self.told for place in self.places):
            return f"it listens on port {self.told}, as the image's own {BIND} says: leave that out"
        return ""

    def __str__(self) -> str:
        return f"it listens on {', '.join(map(str, self.places))}" if self.places else ""


def places_in(table: str) -> Iterator[Place]:
    """Yield what is listened on in a table of the kernel's.

    https://docs.kernel.org/networking/proc_net_tcp.html
    """
    for line in table.splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        address, _, port = local.partition(":")
        if state == _LISTEN and (at := _address(address)) != _RESOLVER:
            yield Place(str(at), int(port, 16))


def _address(digits: str) -> IPv4Address | IPv6Address:
    """Each word of four bytes is in the machine's own order, which is little-endian on amd64 and on arm64."""
    words = (bytes.fromhex(digits[start : start + 8])[::-1] for start in range(0, len(digits), 8))
    address = ip_address(b"".join(words))
    return getattr(address, "ipv4_mapped", None) or address
