"""Where a network looked: the class activation map, from the same forward pass as the answer.

Called by `predictor.engine`, which computes the maps, and by `predictor.answers` and `predictor.offline`,
which show them. A network that ends in global average pooling and a linear layer answers with the mean of
such a map: nothing is estimated. Source: Zhou et al., Learning Deep Features for Discriminative
Localization, CVPR 2016.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from PIL import Image

Map = NDArray[np.float32]

# matplotlib's `inferno`, at nine even steps; perceptually uniform, and told apart by colour-blind people.
_COLOURS = np.array(
    [
        (0, 0, 4), (31, 12, 72), (85, 15, 109), (136, 34, 106), (186, 54, 85),
        (227, 89, 51), (249, 140, 10), (249, 201, 50), (252, 255, 164),
    ],
    dtype=np.float32,
)  # fmt: skip
_OPACITY = 0.65  # of the overlay where the map is at its highest
_BETWEEN = ("Reshape", "Squeeze", "FakeQuantize")  # what may stand between the pooling and the linear layer


@dataclass(frozen=True)
class LinearHead:
    """A network's last layer, over the mean of its feature maps.

    `weights` float32 `(classes, features)`, `bias` float32 `(classes,)`.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def maps(self, features: NDArray[np.float32]) -> Map:
        """Feature maps `(features, h, w)` to one map a class, `(classes, h, w)`; its mean is the logit."""
        flat = self.weights @ features.reshape(len(features), -1) + self.bias[:, np.newaxis]
        return flat.reshape(len(self.weights), *features.shape[1:])


@dataclass(frozen=True)
class Explanation:
    """What speaks for one class, and where.

    `map` float32 `(h, w)`, whose mean is the class's logit, lies over the whole of `pixels`, what the network
    saw, uint8 `(S, S, 3)`. `box` is their place in the upright picture, see `View`.
    """

    name: str  # of the class
    map: Map
    pixels: NDArray[np.uint8]
    box: tuple[float, float, float, float]

    def as_dict(self) -> dict[str, object]:
        """The `explanation` object of `docs/http.md`."""
        return {
            "class": self.name,
            "map": [[round(value, 5) for value in row] for row in self.map.tolist()],
            "box": [round(edge, 2) for edge in self.box],
        }

    def overlay(self) -> bytes:
        """A PNG file: what the network saw, and over it what speaks for the class."""
        height, width, _ = self.pixels.shape
        smooth = Image.fromarray(self._heat()).resize((width, height), Image.Resampling.BICUBIC)
        heat = np.asarray(smooth).clip(0, 1)
        steps = np.linspace(0, 1, len(_COLOURS))
        colours = np.stack([np.interp(heat, steps, channel) for channel in _COLOURS.T], axis=-1)
        opacity = _OPACITY * np.sqrt(heat)[..., np.newaxis]
        blended = self.pixels * (1 - opacity) + colours * opacity
        stream = io.BytesIO()
        Image.fromarray(blended.astype(np.uint8)).save(stream, "PNG", compress_level=1)
        return stream.getvalue()

    def _heat(self) -> Map:
        """The positive part of the map, from 0 to 1."""
        positive = self.map.clip(0, None)
        return np.asarray(positive / max(float(positive.max()), 1e-9), dtype=np.float32)


def expose_head(core: Any, network: Any) -> LinearHead | None:
    """Make the feature maps before the pooling the network's second output, and return its last layer.

    None, and nothing is changed, where the network does not end in pooling and a linear layer.
    """
    last = network.output(0).get_node().input_value(0)
    bias = None
    if last.get_node().get_type_name() == "Add":
        last, bias = (last.get_node().input_value(place) for place in (0, 1))
    linear = last.get_node()
    if linear.get_type_name() != "MatMul" or not linear.get_attributes()["transpose_b"]:
        return None
    pooling = linear.input_value(0).get_node()
    while pooling.get_type_name() in _BETWEEN:
        pooling = pooling.input_value(0).get_node()
    if not _is_global_mean(core, pooling):
        return None
    weights = _constant(core, linear.input_value(1))
    offsets = _constant(core, bias) if bias else np.zeros(1, dtype=np.float32)
    if weights is None or offsets is None:
        return None
    network.add_outputs([pooling.input_value(0)])
    return LinearHead(weights, np.broadcast_to(offsets.reshape(-1), len(weights)))


def _is_global_mean(core: Any, node: Any) -> bool:
    """Whether the node is the mean over height and width of `(N, features, h, w)`."""
    if node.get_type_name() != "ReduceMean" or len(node.input(0).get_partial_shape()) != 4:
        return False
    axes = _constant(core, node.input_value(1))
    return axes is not None and sorted(int(axis) % 4 for axis in axes.flat) == [2, 3]


def _constant(core: Any, value: Any) -> NDArray[Any] | None:
    """What a part of the network computes that depends on no input; None for any other."""
    pending, seen = [value.get_node()], set()
    while pending:
        node = pending.pop()
        if node.get_type_name() == "Parameter":
            return None
        if node.get_name() not in seen:
            seen.add(node.get_name())
            pending += [each.get_node() for each in node.input_values()]
    part = core.compile_model(
        openvino.Model([value], [], "constant"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return np.array(part(())[0])
