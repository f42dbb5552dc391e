"""What computes: a device, its precision, the processes that train together, and whether they are to stop.

Called by whatever trains, evaluates or extracts features.
"""

from dataclasses import dataclass

import torch

from trainer.distributed import Group
from trainer.termination import Stop


@dataclass(frozen=True)
class Machine:
    """What computes: a device, the type it trains in, the processes that train together, the stop request."""

    device: torch.device
    precision: torch.dtype
    group: Group
    stop: Stop

    def autocast(self) -> torch.autocast:
        """Compute in the training precision inside."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)

    def anyone_stops(self) -> bool:
        """Whether any of the processes was asked to stop; all of them have to ask together."""
        asked = torch.tensor([float(self.stop.requested)])
        self.group.sum(asked)
        return bool(asked.item())
