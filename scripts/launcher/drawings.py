"""A small picture set drawn by program, for a first run with no photographs at hand.

Called by `prepare_data.py --draw`. Twelve "breeds" of cartoon dog differ by the pattern of their coat; pose,
colours, background, size, noise and file format vary, so the task can be learned but is not trivial. Like
any real folder it has odd files: greyscale, CMYK, palette and rotated ones, and in train one truncated
picture and one text file named .jpg. The same Pillow draws the same bytes every time.
"""

import colorsys
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps
from rich.console import Console
from rich.progress import Progress

from launcher.datasets import SPLITS, DatasetError, ImageFolder, read_image_folder
from launcher.folders import appearing, exclusive

Colour = tuple[int, int, int]
Point = tuple[float, float]
Coat = Callable[[ImageDraw.ImageDraw, float, Random], None]

PICTURES = {"train": 24, "valid": 6, "test": 6}  # of each class
UNREADABLE = 2  # files more in train: below the 1 % at which training refuses a set
CANVAS = 512  # pixels; a dog is drawn on a square of that size, then scaled into its picture
LAYER = 728  # pixels; a coat is drawn on a larger square, so that it can be turned and cut
NOTE = "DRAWN.txt"
EDITION = "These are drawings, edition 1."  # raise it when the drawings change: older sets are drawn anew
NOTE_TEXT = f"""{EDITION}

They are not photographs and the classes are not breeds: a program drew them so that everything can be tried
with no data at hand. Accuracy on them says nothing about dogs. One file in train is truncated and one is a
text file named .jpg, on purpose.
"""


# ── Coats. Each draws its pattern in white over the whole layer; `pitch` is its period in pixels. ──────────


def _grid(pitch: float, *, staggered: bool) -> Iterator[Point]:
    """Yield the points of a grid over the layer; staggered shifts every other row by half a pitch."""
    count = int(LAYER / pitch) + 2
    for row in range(count):
        for column in range(count):
            yield (column - (0.5 if staggered and row % 2 else 0.0)) * pitch, row * pitch


def _star(centre: Point, radii: list[float], turn: float) -> list[Point]:
    """Return a closed shape with one corner for each radius, evenly around the centre."""
    angles = [turn + math.tau * corner / len(radii) for corner in range(len(radii))]
    return [
        (centre[0] + radius * math.sin(angle), centre[1] - radius * math.cos(angle))
        for radius, angle in zip(radii, angles, strict=True)
    ]


def _curves(draw: ImageDraw.ImageDraw, pitch: float, height: Callable[[float], float]) -> None:
    """Draw the curve y = height(x) again and again, one pitch below the other."""
    for row in range(-1, int(LAYER / pitch) + 2):
        points = [(float(x), row * pitch + height(x)) for x in range(0, LAYER + 8, 8)]
        draw.line(points, fill=255, width=round(pitch * 0.42), joint="curve")


def spotted(draw: ImageDraw.ImageDraw, pitch: float, rng: Random) -> None:
    """Dots of uneven size."""
    for point in _grid(pitch, staggered=True):
        draw.circle(point, pitch * rng.uniform(0.22, 0.36), fill=255)


def striped(draw: ImageDraw.ImageDraw, pitch: float, rng: Random) -> None:
    """Straight bars."""
    width = pitch * rng.uniform(0.4, 0.6)
    for row in range(int(LAYER / pitch) + 1):
        draw.rectangle((0, row * pitch, LAYER, row * pitch + width), fill=255)


def ringed(draw: ImageDraw.ImageDraw, pitch: float, rng: Random) -> None:
    """Separate rings."""
    width = round(pitch * rng.uniform(0.14, 0.2))
    for point in _grid(1.4 * pitch, staggered=True):
        draw.circle(point, pitch * 0.55, outline=255, width=width)


def checkered(draw: ImageDraw.ImageDraw, pitch: float, _rng: Random) -> None:
    """A chess board."""
    side = 0.8 * pitch
    for x, y in _grid(side, staggered=False):
        if round((x + y) / side) % 2:
            draw.rectangle((x, y, x + side, y + side), fill=255)


def zigzagged(draw: ImageDraw.ImageDraw, pitch: float, rng: Random) -> None:
    """Bars that turn sharply."""
    swing = pitch * rng.uniform(1.0, 1.3)
    _curves(draw, pitch, lambda x: abs(x / pitch % 2 - 1) * swing)


def starred(draw: ImageDraw.ImageDraw, pitch: float, rng: Random) -> None:
    """Five-pointed stars, each turned its own way."""
    for point in _grid(1.3 * pitch, staggered=True):
        draw.polygon(_star(point, [pitch * 0.62, pitch * 0.25] * 5, rng.uniform(0, math.tau)), fill=255)


def crossed(draw: ImageDraw.ImageDraw, pitch: float, rng: Random) -> None:
    """Plus signs."""
    arm, half = pitch * 0.45, pitch * rng.uniform(0.1, 0.15)
    for x, y in _grid(1.25 * pitch, staggered=True):
        draw.rectangle((x - arm, y - half, x + arm, y + half), fill=255)
        draw.rectangle((x - half, y - arm, x + half, y + arm), fill=255)


def wavy(draw: ImageDraw.ImageDraw, pitch: float, rng: Random) -> None:
    """Bars that swing gently."""
    swing, length = pitch * rng.uniform(0.45, 0.6), pitch * rng.uniform(2.4, 3.0)
    _curves(draw, pitch, lambda x: swing * math.sin(math.tau * x / length))


def bricked(draw: ImageDraw.ImageDraw, pitch: float, rng: Random) -> None:
    """A wall of bricks with joints between them."""
    joint, length = pitch * rng.uniform(0.14, 0.2), 2.0
    for x, y in _grid(pitch, staggered=False):
        shift = pitch if round(y / pitch) % 2 else 0.0
        left = x * length - shift
        draw.rectangle((left, y, left + length * pitch - joint, y + pitch - joint), fill=255)


def triangled(draw: ImageDraw.ImageDraw, pitch: float, rng: Random) -> None:
    """Scattered triangles."""
    for point in _grid(1.2 * pitch, staggered=True):
        draw.polygon(_star(point, [pitch * 0.6] * 3, rng.uniform(0, math.tau)), fill=255)


def spiralled(draw: ImageDraw.ImageDraw, pitch: float, rng: Random) -> None:
    """One spiral from the middle outwards."""
    middle = [LAYER * rng.uniform(0.42, 0.58) for _ in range(2)]
    steps = range(int(60 * LAYER / pitch))
    points = [
        (
            middle[0] + pitch * step / 60 * math.cos(math.tau * step / 60),
            middle[1] + pitch * step / 60 * math.sin(math.tau * step / 60),
        )
        for step in steps
    ]
    draw.line(points, fill=255, width=round(pitch * 0.42), joint="curve")


def honeycombed(draw: ImageDraw.ImageDraw, pitch: float, rng: Random) -> None:
    """Hexagonal cells that share their walls."""
    radius, wall = 0.62 * pitch, rng.uniform(0.8, 0.86)
    for x, y in _grid(radius * math.sqrt(3), staggered=True):
        draw.polygon(_star((x, y * math.sqrt(3) / 2), [radius * wall] * 6, 0.0), fill=255)


COATS: dict[str, Coat] = {
    f"{number:03d}.{coat.__name__.capitalize()}": coat
    for number, coat in enumerate(
        (
            spotted,
            striped,
            ringed,
            checkered,
            zigzagged,
            starred,
            crossed,
            wavy,
            bricked,
            triangled,
            spiralled,
            honeycombed,
        ),
        start=1,
    )
}


# ── Dogs ──────────────────────────────────────────────────────────────────────────────────────────────────

Box = tuple[float, float, float, float]  # an ellipse: left, top, right, bottom on a square of side 1


@dataclass(frozen=True)
class Pose:
    """The ellipses that a dog is made of: the coat covers the body and, in shade, the ears."""

    body: tuple[Box, ...]
    ears: tuple[Box, ...]
    face: tuple[Box, ...]  # eyes and nose


PORTRAIT = Pose(
    body=((0.15, 0.10, 0.85, 0.96),),
    ears=((0.00, 0.08, 0.29, 0.70), (0.71, 0.08, 1.00, 0.70)),
    face=((0.33, 0.38, 0.43, 0.49), (0.57, 0.38, 0.67, 0.49), (0.42, 0.62, 0.58, 0.74)),
)
STANDING = Pose(
    body=(
        (0.10, 0.34, 0.80, 0.76),
        (0.60, 0.06, 0.98, 0.46),  # head
        (0.01, 0.16, 0.15, 0.52),  # tail
        *((left, 0.56, left + 0.12, 0.98) for left in (0.16, 0.28, 0.52, 0.64)),  # legs
    ),
    ears=((0.55, 0.09, 0.70, 0.50),),
    face=((0.80, 0.17, 0.86, 0.24), (0.91, 0.23, 0.99, 0.31)),
)


def _colour(rng: Random, lightness: float) -> Colour:
    """Return a random colour of about that lightness (0 to 1)."""
    shade = colorsys.hls_to_rgb(rng.random(), lightness + rng.uniform(-0.08, 0.08), rng.uniform(0.25, 0.9))
    return round(255 * shade[0]), round(255 * shade[1]), round(255 * shade[2])


def _draw_coat(coat: Coat, rng: Random) -> Image.Image:
    """Draw a coat on a square of CANVAS pixels: light on dark or dark on light, turned a little."""
    layer = Image.new("L", (LAYER, LAYER))
    coat(ImageDraw.Draw(layer), CANVAS / rng.uniform(6.0, 9.0), rng)
    layer = layer.rotate(rng.uniform(-25, 25), Image.Resampling.BILINEAR)
    margin = (LAYER - CANVAS) // 2
    layer = layer.crop((margin, margin, margin + CANVAS, margin + CANVAS))
    shades = [_colour(rng, 0.25), _colour(rng, 0.75)]
    rng.shuffle(shades)
    return Image.composite(
        Image.new("RGB", layer.size, shades[0]), Image.new("RGB", layer.size, shades[1]), layer
    )


def _shape(boxes: tuple[Box, ...]) -> Image.Image:
    """Return a mask of CANVAS pixels with the ellipses in white."""
    mask = Image.new("L", (CANVAS, CANVAS))
    for box in boxes:
        ImageDraw.Draw(mask).ellipse([CANVAS * edge for edge in box], fill=255)
    return mask


def _draw_dog(coat: Coat, rng: Random) -> Image.Image:
    """Draw a dog with that coat on a transparent square of CANVAS pixels."""
    pose = PORTRAIT if rng.random() < 0.6 else STANDING
    dog = _draw_coat(coat, rng)
    dog.paste(ImageEnhance.Brightness(dog).enhance(0.65), mask=_shape(pose.ears))
    for box in pose.face:
        place = [CANVAS * edge for edge in box]
        ImageDraw.Draw(dog).ellipse(place, fill=(20, 16, 14), outline="white", width=CANVAS // 100)
    dog.putalpha(_shape(pose.body + pose.ears))
    return ImageOps.mirror(dog) if rng.random() < 0.5 else dog


def _draw_background(size: tuple[int, int], rng: Random) -> Image.Image:
    """Draw a sky that runs into the ground, with a few round bushes."""
    gradient = Image.linear_gradient("L").resize(size)
    scene = ImageOps.colorize(gradient, _colour(rng, 0.8), _colour(rng, 0.45))
    for _ in range(rng.randrange(4)):
        centre = rng.uniform(0, size[0]), rng.uniform(0.4, 1) * size[1]
        ImageDraw.Draw(scene).circle(centre, min(size) * rng.uniform(0.05, 0.3), fill=_colour(rng, 0.5))
    return scene


def _draw_size(rng: Random) -> tuple[int, int]:
    """Choose a portrait or landscape size with sides of 120 to 900 pixels."""
    short = round(120 * (600 / 120) ** rng.random())
    long = round(short * rng.uniform(1.0, 1.5))
    return (short, long) if rng.random() < 0.5 else (long, short)


def draw_picture(coat: Coat, rng: Random) -> Image.Image:
    """Draw one RGB picture of a dog with that coat."""
    size = _draw_size(rng)
    scene = _draw_background(size, rng)
    side = round(min(size) * rng.uniform(0.8, 1.05))
    dog = _draw_dog(coat, rng).resize((side, side), Image.Resampling.LANCZOS)
    corner = [round((edge - side) * rng.uniform(0.3, 0.7)) for edge in size]
    scene.paste(dog, (corner[0], corner[1]), dog)
    grain = Image.frombytes("L", size, rng.randbytes(size[0] * size[1]))
    scene = Image.blend(scene, grain.convert("RGB"), rng.uniform(0.02, 0.15))
    return scene.filter(ImageFilter.GaussianBlur(min(size) * rng.uniform(0, 0.004)))


# ── Files ─────────────────────────────────────────────────────────────────────────────────────────────────

# The odd ones of every split: (number of the class, number of the picture) → how the file is written.
ODD_FILES = {
    (2, 1): "grey",
    (3, 5): "grey",
    (4, 2): "cmyk",
    (6, 3): "palette",
    (8, 4): "turned",
    (11, 6): "grey",
}


def _encode(picture: Image.Image, form: str, rng: Random) -> tuple[str, bytes]:
    """Return the file's suffix and content in a form: jpeg, png, grey, cmyk, palette or turned."""
    buffer = BytesIO()
    if form in ("png", "palette"):
        (picture.quantize(64) if form == "palette" else picture).save(buffer, "PNG")
        return ".png", buffer.getvalue()
    exif = Image.Exif()
    if form == "turned":
        picture = picture.transpose(Image.Transpose.ROTATE_90)
        exif[0x0112] = 6  # Orientation: to be turned clockwise by whoever shows it
    elif form in ("grey", "cmyk"):
        picture = picture.convert({"grey": "L", "cmyk": "CMYK"}[form])
    picture.save(buffer, "JPEG", quality=rng.randrange(60, 96), progressive=rng.random() < 0.3, exif=exif)
    return ".jpg", buffer.getvalue()


def _write_pictures(folder: Path, split: str, progress: Callable[[], None]) -> None:
    """Draw one split; every picture has a seed of its own, so sets can grow without changing it."""
    for class_number, (name, coat) in enumerate(COATS.items(), start=1):
        (folder / split / name).mkdir(parents=True)
        for number in range(1, PICTURES[split] + 1):
            rng = Random(f"{split}/{name}/{number}")  # noqa: S311 -- drawings, not secrets
            form = ODD_FILES.get((class_number, number)) or ("png" if number % 4 == 0 else "jpeg")
            suffix, content = _encode(draw_picture(coat, rng), form, rng)
            label = name.partition(".")[2]
            (folder / split / name / f"{label}_{number:05d}{suffix}").write_bytes(content)
            progress()


def _write_unreadable(train: Path) -> None:
    """Add the two files that no reader can read: half a picture, and a text named .jpg."""
    half, text = (train / name for name in list(COATS)[:UNREADABLE])
    whole = (half / "Spotted_00001.jpg").read_bytes()
    (half / "Spotted_truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (text / "Striped_text.jpg").write_text("This is a text, whatever its name says.\n")


def draw_picture_set(folder: Path) -> tuple[ImageFolder, bool]:
    """Draw the whole set into a folder; return it and whether there was anything to do.

    Raises DatasetError when the folder holds something else.
    """
    with exclusive(folder.parent):
        if folder.exists() and _is_whole(folder):
            return read_image_folder(folder), False
        console = Console(stderr=True)
        with (
            appearing(folder) as hidden,
            Progress(console=console, disable=not console.is_terminal) as progress,
        ):
            task = progress.add_task("drawing", total=len(COATS) * sum(PICTURES.values()))
            for split in SPLITS:
                _write_pictures(hidden, split, lambda: progress.advance(task))
            _write_unreadable(hidden / "train")
            (hidden / NOTE).write_text(NOTE_TEXT)
        return read_image_folder(folder), True


def _is_whole(folder: Path) -> bool:
    """Tell whether the folder holds a whole set of this edition; raise DatasetError on anything else's."""
    note = folder / NOTE
    if not note.exists() and any(folder.iterdir()):
        raise DatasetError(f"{folder} holds something else than drawn pictures: choose another folder")
    try:
        files = read_image_folder(folder).files
    except DatasetError:
        return False
    expected = {split: len(COATS) * number for split, number in PICTURES.items()}
    expected["train"] += UNREADABLE
    return files == expected and note.read_text().startswith(EDITION)
