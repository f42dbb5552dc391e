"""The page in a real browser, as a person uses it: with a mouse, with the keyboard, on a phone."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import devtools
import pytest
from PIL import Image
from running_server import RunningServer
from small_endpoint import SmallEndpoint
from tiny_artifact import CLASSES, write_tiny_artifact

SCRIPT = Path(__file__).parents[3] / "scripts" / "ui.py"
ANSWERED = "!document.querySelector('#breeds').hidden"
FAILED = "!document.querySelector('#error').hidden"
LABELS = "[...document.querySelectorAll('.breed .label')].map(each => each.textContent)"
HEAT = "document.querySelector('#heat')"
# How opaque the overlay is at a place, given as parts of its width and height.
OPACITY = (
    HEAT + ".getContext('2d').getImageData({0} * " + HEAT + ".width, {1} * " + HEAT + ".height, 1, 1).data[3]"
)


class Page:
    """`ui.py` running on a free port."""

    def __init__(self, endpoint: str) -> None:
        self._command = [sys.executable, str(SCRIPT), "--url", endpoint, "--port", "0", "--no-browser"]

    def __enter__(self) -> str:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        return self._process.stdout.readline().split()[0]

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(timeout=20) == 130


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[devtools.Browser]:
    program = devtools.find()
    if not program:
        pytest.skip(f"no browser: none of {', '.join(devtools.NAMES)} is installed")
    with devtools.Browser(program, tmp_path_factory.mktemp("browser") / "profile") as running:
        yield running


@pytest.fixture
def tab(browser: devtools.Browser) -> Iterator[devtools.Tab]:
    """A page whose scripts must not fail, nor try what its policy forbids."""
    opened = devtools.Tab(browser)
    yield opened
    assert opened.faults == []
    opened.close()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[SmallEndpoint]:
    with SmallEndpoint() as running:
        yield running


@pytest.fixture(scope="module")
def url(endpoint: SmallEndpoint) -> Iterator[str]:
    with Page(endpoint.url) as address:
        yield address


@pytest.fixture(autouse=True)
def well_again(endpoint: SmallEndpoint) -> None:
    endpoint.refusal, endpoint.explains, endpoint.box = None, True, [0, 0, 60, 60]
    endpoint.delays.clear()
    endpoint.asked.clear()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "dog.png"
    Image.new("RGB", (60, 60), "brown").save(path)
    return path


def text(tab: devtools.Tab, selector: str) -> str:
    return str(tab.evaluate(f"document.querySelector({json.dumps(selector)}).textContent"))


def test_a_photograph_is_answered_by_the_real_model_server(
    tab: devtools.Tab, tmp_path: Path, picture: Path
) -> None:
    write_tiny_artifact(tmp_path / "opt-ml" / "model")
    with RunningServer(tmp_path / "opt-ml") as server:
        server.wait_until_ready()
        with Page(f"http://127.0.0.1:{server.port}") as address:
            tab.open(address)
            tab.choose(picture)
            tab.wait_for(ANSWERED)
            shown = tab.evaluate(LABELS)
            (tmp_path / "notes.txt").write_text("no photograph")
            tab.choose(tmp_path / "notes.txt")
            tab.wait_for(FAILED)
            refusal = text(tab, "#reason")
            bars = tab.evaluate("document.querySelector('#breeds').hidden")
            tab.choose(picture)
            tab.wait_for(ANSWERED)

    assert len(shown) == 5
    assert set(shown) < {name.partition(".")[2].replace("_", " ") for name in CLASSES}
    assert refusal.startswith("The endpoint refused this file.")
    assert bars, "what belongs to another file is still shown"
    assert tab.evaluate(FAILED) is False


def test_a_dropped_photograph_has_bars_times_and_a_heat_map(
    tab: devtools.Tab, url: str, picture: Path
) -> None:
    tab.open(url)
    tab.drop(picture, 600, 800)
    tab.wait_for(ANSWERED)

    assert text(tab, "#status") == "Affenpinscher, 62.0 %"
    assert tab.evaluate(LABELS)[1] == "Nova Scotia duck tolling retriever"
    shares = tab.evaluate("[...document.querySelectorAll('.share')].map(each => each.textContent)")
    assert shares == ["62.0 %", "30.0 %", "8.0 %", "< 0.1 %", "< 0.1 %"]
    part = "document.querySelector('.bar').clientWidth / document.querySelector('.track').clientWidth"
    tab.wait_for(f"Math.abs({part} - 0.62) < 0.01")
    stages = tab.evaluate("[...document.querySelectorAll('.stage')].map(each => each.textContent)")
    assert stages[:3] == ["3.3 ms reading", "40 ms network", "0.5 ms writing"]
    assert stages[3].endswith("on the way and waiting")
    assert text(tab, "#model") == "Model abc123def456"
    places = tab.evaluate("[photo, heat].map(each => JSON.stringify(each.getBoundingClientRect()))")
    assert places[0] == places[1], "the heat map does not lie over the photograph"


def test_the_heat_is_where_the_map_says(tab: devtools.Tab, url: str, picture: Path) -> None:
    tab.open(url)
    tab.choose(picture)
    tab.wait_for(ANSWERED)

    assert tab.evaluate(OPACITY.format(5.5 / 7, 1 / 7)) > 150
    assert tab.evaluate(OPACITY.format(2.5 / 7, 1 / 7)) == 0
    assert tab.evaluate(OPACITY.format(5.5 / 7, 5 / 7)) == 0
    assert tab.evaluate(f"{HEAT}.ariaLabel").endswith("Affenpinscher is strongest at the upper right")


def test_the_heat_lies_in_the_box_of_a_photograph_that_was_taken_sideways(
    tab: devtools.Tab, url: str, endpoint: SmallEndpoint, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (300, 200), "brown").save(tmp_path / "sideways.jpg", exif=exif)
    endpoint.box = [0, 100, 200, 300]  # of 200 × 300, upright

    tab.open(url)
    tab.choose(tmp_path / "sideways.jpg")
    tab.wait_for(ANSWERED)

    assert tab.evaluate("[photo.width, photo.height]") == [427, 640]
    assert tab.evaluate(OPACITY.format(5.5 / 7, (1 + 2 * 1 / 7) / 3)) > 150
    assert 100 < tab.evaluate(OPACITY.format(0.1, 0.1)) < 150, "what was not seen is not shaded"
    assert "Outside the frame" in text(tab, "#what")


def test_everything_can_be_done_with_the_keyboard(tab: devtools.Tab, url: str, picture: Path) -> None:
    tab.open(url)
    tab.call("Page.setInterceptFileChooserDialog", enabled=True)
    tab.press("Tab")
    ring = tab.evaluate("getComputedStyle(document.querySelector('.choose label')).outlineStyle")
    tab.press("Enter")
    chooser = tab.wait_for_event("Page.fileChooserOpened")
    tab.call("DOM.setFileInputFiles", backendNodeId=chooser["backendNodeId"], files=[str(picture)])
    tab.wait_for(ANSWERED)
    before = tab.evaluate(OPACITY.format(5.5 / 7, 1 / 7))
    tab.press("Tab")
    tab.press("Tab")
    tab.press("ArrowLeft")
    tab.press("ArrowLeft")
    after = tab.evaluate(OPACITY.format(5.5 / 7, 1 / 7))
    tab.evaluate("document.querySelector('#show').focus()")
    tab.press("Space")

    assert ring == "solid", "the focus cannot be seen"
    assert after < before
    assert tab.evaluate(f"{HEAT}.hidden") is True


def test_a_pasted_photograph_is_taken(tab: devtools.Tab, url: str) -> None:
    tab.open(url)
    tab.evaluate(
        """(async () => {
          const canvas = new OffscreenCanvas(60, 60);
          canvas.getContext("2d").fillRect(0, 0, 60, 60);
          const clipboardData = new DataTransfer();
          clipboardData.items.add(new File([await canvas.convertToBlob()], "pasted.png"));
          document.dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
        })()"""
    )
    tab.wait_for(ANSWERED)

    assert tab.evaluate("photo.hidden") is False


def test_a_model_that_cannot_explain_itself_names_breeds_all_the_same(
    tab: devtools.Tab, url: str, endpoint: SmallEndpoint, picture: Path
) -> None:
    endpoint.explains = False

    tab.open(url)
    for _ in range(2):
        tab.choose(picture)
        tab.wait_for("breeds.hidden")
        tab.wait_for(ANSWERED)

    options = [headers["x-amzn-sagemaker-custom-attributes"] for _, headers, _ in endpoint.asked]
    assert options == ["top_k=5,explain=true", "top_k=5", "top_k=5"]
    assert "There is no heat map" in text(tab, "#none")
    assert tab.evaluate("none.hidden") is False
    assert tab.evaluate(f"{HEAT}.hidden && why.hidden") is True


def test_a_format_that_the_browser_cannot_show_has_its_bars(
    tab: devtools.Tab, url: str, tmp_path: Path
) -> None:
    Image.new("RGB", (60, 60), "brown").save(tmp_path / "dog.tiff")

    tab.open(url)
    tab.choose(tmp_path / "dog.tiff")
    tab.wait_for(ANSWERED)

    assert tab.evaluate("unseen.hidden") is False
    assert tab.evaluate(f"photo.hidden && {HEAT}.hidden") is True


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (
            (422, "too_large", "the picture has 60 million pixels"),
            "refused this file. The picture has 60 million",
        ),
        ((503, "busy", "the queue is full"), "The endpoint is busy."),
        ((500, "internal", "see the log"), "The endpoint failed. See the log."),
    ],
    ids=["refused", "busy", "failed"],
)
def test_a_failure_is_said_in_words_and_can_be_tried_again(
    *,
    tab: devtools.Tab,
    url: str,
    endpoint: SmallEndpoint,
    picture: Path,
    refusal: tuple[int, str, str],
    said: str,
) -> None:
    endpoint.refusal = refusal
    tab.open(url)
    tab.choose(picture)
    tab.wait_for(FAILED)
    assert said in text(tab, "#reason")
    assert text(tab, "#status") == ""

    endpoint.refusal = None
    tab.evaluate("document.querySelector('#again').focus()")
    tab.press("Enter")
    tab.wait_for(ANSWERED)

    assert tab.evaluate(FAILED) is False


def test_a_page_whose_servers_have_ended_says_which(tab: devtools.Tab, picture: Path) -> None:
    with SmallEndpoint() as endpoint:
        page = Page(endpoint.url)
        address = page.__enter__()
        tab.open(address)
    tab.choose(picture)
    tab.wait_for(FAILED)
    assert text(tab, "#reason").startswith("No endpoint answers at http://127.0.0.1:")

    page.__exit__()
    tab.evaluate("document.querySelector('#again').click()")
    tab.wait_for("reason.textContent.includes('make ui')")


def test_a_file_that_is_too_large_is_not_sent(
    tab: devtools.Tab, url: str, endpoint: SmallEndpoint, tmp_path: Path
) -> None:
    with (tmp_path / "large.jpg").open("wb") as large:
        large.truncate(21 * 2**20)

    tab.open(url)
    tab.wait_for("about.textContent.includes('sent to')")
    tab.choose(tmp_path / "large.jpg")
    tab.wait_for(FAILED)

    assert text(tab, "#reason") == "This file is too large: 21.0 MiB, and 20.0 MiB is the most."
    assert not endpoint.asked


def test_a_late_answer_does_not_take_the_place_of_a_newer_one(
    tab: devtools.Tab, url: str, endpoint: SmallEndpoint, picture: Path
) -> None:
    Image.new("RGB", (60, 30), "white").save(picture.with_name("second.png"))
    endpoint.delays[:] = [1.0, 0.0]

    tab.open(url)
    tab.choose(picture)
    tab.wait_for("!waiting.hidden")
    while not endpoint.asked:
        tab.evaluate("0")
    tab.choose(picture.with_name("second.png"))
    tab.wait_for(ANSWERED)
    tab.evaluate("new Promise(done => setTimeout(done, 1300))")

    assert tab.evaluate("photo.height < photo.width") is True
    assert tab.evaluate("waiting.hidden && !breeds.hidden") is True


@pytest.mark.parametrize("width", [360, 390, 800])
def test_nothing_is_wider_than_the_screen(tab: devtools.Tab, url: str, *, width: int, tmp_path: Path) -> None:
    Image.new("RGB", (1600, 400), "brown").save(tmp_path / "wide.png")

    tab.resize(width, 740)
    tab.open(url)
    empty = tab.evaluate("document.documentElement.scrollWidth")
    tab.choose(tmp_path / "wide.png")
    tab.wait_for(ANSWERED)

    assert empty == width
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert tab.evaluate("photo.getBoundingClientRect().width") <= width
    small = "[...document.querySelectorAll('.verb, .switch, .strength')].map(e => e.clientHeight)"
    assert min(tab.evaluate(small)) >= 40, "too small for a finger"


# The relative luminance and contrast of WCAG 2.2, of each text against what is behind it.
CONTRASTS = """(() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const colour = getComputedStyle(element).backgroundColor;
    return colour === "rgba(0, 0, 0, 0)" && element.parentElement ? behind(element.parentElement) : colour;
  };
  const texts = "h1, #about, .verb, #ways, #status, .label, .share, #stages, #model, #what";
  return [...document.querySelectorAll(texts)].map((element) => {
    const pair = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => b - a);
    return [element.textContent, (pair[0] + 0.05) / (pair[1] + 0.05)];
  });
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_by_day_and_by_night(
    tab: devtools.Tab, url: str, picture: Path, scheme: str
) -> None:
    tab.prefer(prefers_color_scheme=scheme)
    tab.open(url)
    tab.choose(picture)
    tab.wait_for(ANSWERED)

    assert [each for each in tab.evaluate(CONTRASTS) if each[1] < 4.5] == []
    ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(ground.removeprefix("rgb(").split(",")[0]) > 128) == (scheme == "light")


def test_nothing_moves_for_those_who_asked_for_that(tab: devtools.Tab, url: str, picture: Path) -> None:
    moving = "getComputedStyle(document.querySelector('.bar')).animationName"
    tab.open(url)
    tab.choose(picture)
    tab.wait_for(ANSWERED)
    assert tab.evaluate(moving) == "growing"

    tab.prefer(prefers_reduced_motion="reduce")

    assert tab.evaluate(moving) == "none"


def test_a_screen_reader_is_told_what_is_there(tab: devtools.Tab, url: str, picture: Path) -> None:
    tab.open(url)
    tab.choose(picture)
    tab.wait_for(ANSWERED)

    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    told = {(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]}
    assert ("checkbox", "Heat map") in told
    assert ("slider", "Strength") in told
    assert ("image", "The photograph dog.png") in told
    assert any(role == "status" for role, _ in told)
    assert any("Choose a photograph" in name for role, name in told if role == "button")
    assert [role for role, _ in told if role == "list"]
