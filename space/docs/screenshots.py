"""Screenshots of every tab with a result, at the width of a laptop and of a phone, light and dark.

python -m space screenshots
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from space.hosting.app_process import running_app
from space.widgets.photo_picker import EXAMPLE_PHOTOS

FOLDER = Path("runs/screenshots")
LOOKS = ((1280, "light"), (1280, "dark"), (390, "light"), (390, "dark"))  # width in pixels, theme
HEIGHT = 844  # of the window
TIMEOUT_MS = 180_000  # other work may be running on the machine
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
# Pictures below the fold are loaded lazily, and full-page screenshots don't wait for them.
LOAD = """async () => {
    scrollTo({top: 0, behavior: "instant"});
    const seen = [...document.images].filter(image => image.checkVisibility());
    for (const image of seen) image.loading = "eager";
    await Promise.all(seen.map(image => image.decode().catch(() => {})));
}"""

# While a result is replaced, Gradio shows the old one pale.
SETTLED = "() => ![...document.querySelectorAll('.pending')].some(element => element.checkVisibility())"

README_PICTURES = Path(__file__).parents[1] / "pictures"
CROPS = {"reconstruct-1280-light": 1064, "sketch-1280-dark": 1200}  # of the README: height in pixels


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m space screenshots", description="Take pictures of every tab of the page."
    )
    parser.add_argument("--url", help="address of a running page (default: start one)")
    parser.add_argument("--out", type=Path, default=FOLDER, help=f"folder for the pictures (default {FOLDER})")
    parser.add_argument("--readme", action="store_true", help="also update the two of the README")
    flags = parser.parse_args(arguments)
    if flags.url:
        print(*shoot(flags.url, flags.out), sep="\n")
    else:
        with tempfile.TemporaryDirectory() as folder, running_app(variables={**os.environ, "TMPDIR": folder}) as page:
            print(*shoot(page[0], flags.out), sep="\n")
    if flags.readme:
        print(*illustrate(flags.out, README_PICTURES), sep="\n")


def shoot(url: str, folder: Path, looks: Sequence[tuple[int, str]] = LOOKS) -> list[Path]:
    """Use every tab of the page at `url` in every look, and write `{tab}-{width}-{theme}.png` files to `folder`.

    Takes about a minute per look on two cores. Raises Playwright's TimeoutError if a result doesn't come.
    """
    paths = []
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for width, theme in looks:
            page = browser.new_page(viewport={"width": width, "height": HEIGHT})
            page.set_default_timeout(TIMEOUT_MS)
            page.goto(f"{url}/?__theme={theme}")
            paths += [save(page, folder, f"{name}-{width}-{theme}") for name in walk(page)]
            page.close()
        browser.close()
    return paths


def launch(playwright: Playwright) -> Browser:
    """Headless Chromium: the system's, or the one that Playwright installed."""
    return playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))


def save(page: Page, folder: Path, name: str) -> Path:
    """Write the whole page, from the title to the footer, to a PNG file in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    page.mouse.move(0, 0)
    page.evaluate(LOAD)
    path = folder / f"{name}.png"
    page.screenshot(path=path, full_page=True, animations="disabled")
    return path


def illustrate(folder: Path, out: Path) -> list[Path]:
    """Crop the screenshots in `folder` that the README shows -> WebP files in `out`, about 100 kB each."""
    paths = []
    for name, height in CROPS.items():
        path = out / f"{name}.webp"
        with Image.open(folder / f"{name}.png") as picture:
            picture.convert("RGB").crop((0, 0, picture.width, height)).save(path, quality=85, method=6)
        paths.append(path)
    return paths


# Using every tab ------------------------------------------------------------------------------------------------------


def walk(page: Page) -> Iterator[str]:
    """Use every tab of an open page; yields its name when the result is visible."""
    for name, (tabs, use) in VIEWS.items():
        for tab in tabs:
            page.get_by_role("tab", name=tab, exact=True).click()
        use(page)
        yield name


def reconstruct(page: Page) -> None:
    choose_example(page, "photo", "coffee")
    page.locator("#numbers table").wait_for(state="attached")
    page.locator("#comparison img").nth(1).wait_for()


def sample(page: Page) -> None:
    page.locator("#favorites").get_by_role("button").first.click()
    wait_for_pictures(page)


def sketch(page: Page) -> None:
    page.locator("#sketch-canvas canvas").first.wait_for()
    page.get_by_role("button", name="sunflower").click()
    wait_for_pictures(page, "sketch-")


def complete(page: Page) -> None:
    choose_example(page, "complete-photo", "blossom")
    page.locator("#complete-canvas canvas").first.wait_for()
    page.get_by_role("button", name="Complete the photo").click()
    wait_for_pictures(page, "complete-")


def recolor(page: Page) -> None:
    choose_example(page, "recolor-photo", "blossom")
    page.get_by_role("button", name="Draw new colors").click()
    wait_for_pictures(page, "recolor-")


def look_inside(page: Page) -> None:
    choose_example(page, "inside-photo", "blossom")
    page.locator("#surprise-numbers table").wait_for(state="attached")
    page.locator("#expected .expected").wait_for()
    page.locator(".usage", has_text="your photo").nth(2).wait_for()
    # The tab was opened with the photo of the tab before, and may still show that one's result.
    page.wait_for_function(SETTLED)


def how_it_works(page: Page) -> None:
    page.locator("#story .papers").wait_for()


def choose_example(page: Page, picker: str, name: str) -> None:
    """Click an example photo, and wait until it is shown."""
    page.get_by_role("button", name=name).locator("visible=true").first.click()
    page.locator(f'#{picker} img[src*="{EXAMPLE_PHOTOS[name]}"]').wait_for()


def wait_for_pictures(page: Page, prefix: str = "") -> None:
    """Wait until the new pictures are rendered and the numbers are shown."""
    page.locator(f"#{prefix}drawn-numbers table").wait_for(state="attached")
    page.locator(f"#{prefix}live .tiles img").nth(3).wait_for()


VIEWS: dict[str, tuple[tuple[str, ...], Callable[[Page], None]]] = {
    "reconstruct": (("Reconstruct",), reconstruct),
    "sketch": (("Sketch",), sketch),
    "sample": (("Sample",), sample),
    "complete": (("Remix", "Complete"), complete),
    "recolor": (("Remix", "Recolor"), recolor),
    "inside": (("Look inside",), look_inside),
    "story": (("How it works",), how_it_works),
}
