"""What the training machine computes with: its device, and bfloat16 where that is native.

Called by the job; the answers are passed to the engine.
"""

from pathlib import Path

import torch


def choose_device(number: int) -> torch.device:
    """The GPU of this process, the host's `number`th from 0, or the processor.

    Turns TF32 off on a GPU: evaluation promises float32, and training has bfloat16 for speed.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda", number)


def choose_precision(device: torch.device, *, mixed: bool) -> torch.dtype:
    """The type that frozen layers compute in while training; `float32` unless bfloat16 is native."""
    if not mixed:
        return torch.float32
    native = torch.cuda.is_bf16_supported() if device.type == "cuda" else _processor_has_bfloat16()
    return torch.bfloat16 if native else torch.float32


def _processor_has_bfloat16() -> bool:
    """Whether /proc/cpuinfo lists AMX: on AVX-512 alone bfloat16 gains nothing over float32."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and "amx_bf16" in cpuinfo.read_text(encoding="utf-8", errors="replace")
