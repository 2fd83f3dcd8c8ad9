"""What the tests of the page share: a browser, and calls as a program makes them."""

import asyncio
import json
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from support.browser import PATIENCE, is_local

from space.docs.screenshots import launch

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if shutil.which("chromium") is None and not os.environ.get("CI"):
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lay_out() -> Callable[[Callable[[], Any]], Any]:
    """`lay_out(make)`: what `make()` returns inside a `gr.Blocks` of its own."""

    async def call(make: Callable[[], Any]) -> Any:
        with gr.Blocks():
            return make()

    return lambda make: asyncio.run(call(make))  # outside an event loop, Gradio creates some and never closes them


@pytest.fixture
def visit(browser: Browser, page_url: str) -> Iterator[Callable[..., Page]]:
    """`visit(width, theme)` opens the page; afterwards nothing may have gone wrong in it or have left the machine."""
    pages, errors, strangers = [], [], []

    def open_page(width: int = 1280, theme: str = "light") -> Page:
        page = browser.new_page(viewport={"width": width, "height": 844})
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: None if is_local(request.url, page_url) else strangers.append(request.url))
        page.goto(f"{page_url}/?__theme={theme}")
        expect(page.get_by_role("button", name="cat")).to_be_visible(timeout=PATIENCE)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert errors == []
    assert strangers == []


@pytest.fixture(scope="module")
def call(page_url: str) -> Callable[..., Any]:
    """`call(endpoint, **values)`: as any program may, by HTTP and without the client's own checks -> (kind, answer)."""

    def ask(endpoint: str, **values: Any) -> tuple[str, Any]:
        url = f"{page_url}/gradio_api/call/v2/{endpoint}"
        with httpx.Client(timeout=120, headers={"content-type": "application/json"}) as browser:
            asked = browser.post(url, content=json.dumps(values)).raise_for_status()
            answer = browser.get(f"{url}/{asked.json()['event_id']}").text
        kind, data = answer.strip().split("\n\n")[-1].splitlines()
        return kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    return ask
