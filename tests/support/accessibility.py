"""What can be wrong with a page for those who see little of it, or use it by keyboard: a line of text for each."""

from collections.abc import Iterator

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice")

# What Gradio itself adds and leaves no way to mend: axe's rule, and a part of the element's HTML.
GRADIO = (
    ("aria-prohibited-attr", '<div aria-label="Empty value"'),  # in a picture before its first value comes
    ("color-contrast", "<div>select the draw tool to start</div>"),  # seen for a moment, until a canvas has its brush
)

# Tables don't shrink below their widest words, and then stick out of their column before the page scrolls.
TOO_WIDE = """() => {
    const page = document.documentElement.scrollWidth - innerWidth;
    const tables = [...document.querySelectorAll("table")].filter(table => table.checkVisibility() &&
        table.getBoundingClientRect().right > table.parentElement.getBoundingClientRect().right + 1);
    return [...page > 0 ? [`the page is ${page} pixels too wide`] : [],
        ...tables.map(table => `a table is wider than its column: ${table.innerText.slice(0, 40)}`)];
}"""

# Targets of a finger (WCAG 2.5.8), except links within text, and fields that fill a larger target.
TOO_SMALL = """controls => [...document.querySelectorAll(controls)].filter(element =>
        element.checkVisibility({opacityProperty: true, visibilityProperty: true}) && element.tabIndex >= 0 &&
        getComputedStyle(element).display !== "inline" && element.role !== "combobox")
    .filter(element => {
        const target = ["checkbox", "radio"].includes(element.type) ? element.closest("label") : element;
        const {width, height} = target.getBoundingClientRect();
        return width > 1 && height > 1 && Math.min(width, height) < 23.9;
    })
    .map(element => `smaller than 24 pixels: ${element.outerHTML.slice(0, 120)}`)"""

# A visible label is one that the name read aloud contains (WCAG 2.5.3).
UNLABELED = """() => [...document.querySelectorAll("input, select, textarea")]
    .filter(field => field.checkVisibility({visibilityProperty: true}) && !["file", "hidden"].includes(field.type))
    .filter(field => {
        const seen = element => element.getBoundingClientRect().width > 2 && element.innerText.trim();
        const name = field.ariaLabel ?? [...field.labels ?? []].map(label => label.innerText).join(" ");
        const around = field.closest(".block") ?? field.parentElement;
        const labels = field.type === "radio" ? [...field.labels]
            : [...around.querySelectorAll("label, label span, [data-testid=block-info]")];
        return !labels.some(label => seen(label) && name.toLowerCase().includes(seen(label).toLowerCase()));
    })
    .map(field => `no visible label: ${field.outerHTML.slice(0, 120)}`)"""

CONTROLS = (
    "a[href], button, input:not([type=file]), select, textarea, summary, [role=slider], [role=tab], [tabindex='0']"
)
BEGIN = """controls => {
    const still = document.createElement("style");
    still.textContent = "* { transition: none !important; }";  // else a focus ring is still growing when looked at
    document.head.append(still);
    document.activeElement.blur();
    window.lookOf = element => {
        const style = getComputedStyle(element);
        return [style.outline, style.boxShadow, style.border].join();
    };
    window.left = new Map([...document.querySelectorAll(controls)].filter(element => !element.disabled &&
        element.checkVisibility({visibilityProperty: true}) && !element.closest("[inert], [aria-hidden=true]"))
        .map(element => [element, lookOf(element)]));
}"""
STOP = """() => {
    const element = document.activeElement;
    if (element === document.body || element === null) return "nothing";
    if (!window.left.has(element)) return "another";
    const shown = window.left.get(element) !== lookOf(element);
    window.left.delete(element);
    return shown ? "shown" : `the focus is not shown on ${element.outerHTML.slice(0, 120)}`;
}"""
LEFT = "() => [...window.left.keys()].map(element => `out of the keyboard's reach: ${element.outerHTML.slice(0, 120)}`)"


def violations(page: Page) -> list[str]:
    """What axe-core finds in what is seen: of Gradio's own elements too, but for `GRADIO`."""
    options = {"runOnly": list(RULES), "resultTypes": ["violations"]}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:160]}"
        for rule in found
        for node in rule["nodes"]
        if not any(rule["id"] == name and node["html"].startswith(part) for name, part in GRADIO)
    ]


def too_wide(page: Page) -> list[str]:
    return page.evaluate(TOO_WIDE)


def too_small(page: Page) -> list[str]:
    """Visible controls that a finger may miss."""
    return page.evaluate(TOO_SMALL, CONTROLS)


def unlabeled(page: Page) -> list[str]:
    """Visible fields without a visible label."""
    return page.evaluate(UNLABELED)


def unreachable(page: Page) -> list[str]:
    """Visible controls that the Tab key alone never comes to, or that don't show it."""
    page.evaluate(BEGIN, CONTROLS)
    page.locator("h1").click()
    said = list(stops(page))
    return [line for line in said if line not in ("shown", "another", "nothing")] + page.evaluate(LEFT)


def stops(page: Page) -> Iterator[str]:
    """Press Tab until there is nothing new: a list that closes when it is left takes the focus to nothing for once."""
    old = 0
    while old < 3:
        page.keyboard.press("Tab")
        said = page.evaluate(STOP)
        yield said
        old = old + 1 if said in ("another", "nothing") else 0
