"""ResNet50 in eager f32 PyTorch behind TorchServe or multi-model-server: what one gets without an engine.

Called by both servers as their handler; `RIVAL_THREADS` is PyTorch's number of threads.
"""

import io
import json
import os
from typing import Any

import torch
from PIL import Image
from torchvision import models, transforms

CLASSES = 133


class Service:
    """The network, and torchvision's own preprocessing."""

    def __init__(self) -> None:
        torch.set_num_threads(int(os.environ["RIVAL_THREADS"]))
        self.initialized = False
        self.prepare = transforms.Compose(
            [
                transforms.Resize(256),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def initialize(self, _context: Any) -> None:
        """Build the network; its weights are random, which costs the same."""
        self.network = models.resnet50(num_classes=CLASSES).eval()
        self.initialized = True

    def answer(self, body: bytes) -> str:
        """One picture file's five most probable classes, as JSON."""
        picture = Image.open(io.BytesIO(body)).convert("RGB")
        with torch.inference_mode():
            probabilities = self.network(self.prepare(picture)[None]).softmax(dim=1)[0]
        best = probabilities.topk(5)
        return json.dumps(dict(zip(best.indices.tolist(), best.values.tolist(), strict=True)))


_service = Service()


def handle(data: Any, context: Any) -> list[str]:
    """The entry point that both servers call, with one request a call."""
    if not _service.initialized:
        _service.initialize(context)
    if data is None:
        return []
    return [_service.answer(bytes(each.get("data") or each.get("body"))) for each in data]
