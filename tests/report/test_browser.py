"""Reports in a real browser: what a reader sees on a screen, on a phone, at night and on paper."""

from __future__ import annotations

import io
import shutil

import matplotlib.image
import numpy
import pytest

from .models import answers

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium"
)

PHONE, SCREEN = {"width": 375, "height": 800}, {"width": 1200, "height": 900}
SECTIONS = ["model", "plan", "posterior", "prediction", "certificate", "origin"]
#: Contrast of every text with what is behind it, by the formula of WCAG 2; the worst, and where.
CONTRAST = """() => {
    const numbers = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map(c => c / 255).map(c => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
        return .2126 * x + .7152 * y + .0722 * z;
    };
    let worst = [99, ""];
    for (const element of document.body.querySelectorAll("*")) {
        if (![...element.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
        let behind = element, ground = [0, 0, 0, 0];
        while (behind && (ground.length === 4 && ground[3] === 0)) {
            ground = numbers(getComputedStyle(behind).backgroundColor);
            behind = behind.parentElement;
        }
        const [a, b] = [light(numbers(getComputedStyle(element).color)), light(ground)];
        const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
        if (contrast < worst[0]) worst = [contrast, element.outerHTML.slice(0, 80)];
    }
    return worst;
}"""


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        # In a container there is often no other user to be than root, for whom Chromium has no sandbox.
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    paths = {name: answer.report(folder / f"{name} <'&.html") for name, answer in answers().items()}
    paths["plan"] = answers()["parts"].plan.report(folder / "plan.html")
    return paths


@pytest.fixture
def read(browser, reports):
    """Opens a report; afterwards nothing may have been asked of the network, and nothing may have been complained about."""
    pages, asked, said = [], [], []

    def opened(name, viewport, scheme="light"):
        page = browser.new_page(viewport=viewport, color_scheme=scheme)
        pages.append(page)
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.goto(reports[name].as_uri())
        return page

    yield opened
    for page in pages:
        page.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == len(pages)


@pytest.mark.parametrize("name", ["exact", "wordy", "closed", "parts", "rejection", "plan"])
def test_a_report_can_be_read_on_a_phone(name, read):
    """Every section is there, every picture is seen, and the page is as wide as the phone."""
    page = read(name, PHONE)
    sections = page.eval_on_selector_all("section", "all => all.map(s => s.id)")
    assert sections == (["model", "plan", "origin"] if name == "plan" else SECTIONS)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    seen = page.eval_on_selector_all(
        "img", "all => all.map(i => [i.complete, i.naturalWidth, i.clientWidth, i.alt])"
    )
    assert len(seen) >= 2
    for complete, natural, shown, alt in seen:
        assert complete
        assert min(natural, shown) > 100
        assert alt
    # No figure sticks out of its box, as long numbers would.
    stuck = page.eval_on_selector_all(
        "#posterior .tiles td", "all => all.filter(t => t.scrollWidth > t.clientWidth + 1).length"
    )
    assert stuck == 0
    # Text is never smaller than can be read without a lens.
    sizes = page.eval_on_selector_all(
        "main *", "all => all.map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 11


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_has_contrast_by_day_and_by_night(scheme, read):
    """Text can be read (4.5 to 1, WCAG 2 AA), and neither the page nor its pictures glare at night."""
    for name in ("exact", "closed"):
        page = read(name, SCREEN, scheme)
        contrast, where = page.evaluate(CONTRAST)
        assert contrast >= 4.5, where
        shots = [page.screenshot(), page.locator("img").first.screenshot()]
        for shot in shots:
            pixels = matplotlib.image.imread(io.BytesIO(shot))[..., :3]
            ground = float(numpy.median(pixels))
            assert ground < 0.2 if scheme == "dark" else ground > 0.9
            assert float(pixels.max() - pixels.min()) > 0.6


def test_wicked_names_are_seen_and_do_nothing(read):
    """A label that is a script is a text, in tables, in pictures and as the page's title."""
    page = read("exact", SCREEN)
    assert "<script>alert(1)</script>" in page.title()
    assert page.locator("h1").inner_text().startswith("<script>alert(1)</script>")
    assert page.locator("script").count() == 0
    rows = page.locator("#posterior .bars th").all_inner_texts()
    assert rows == [
        "<script>alert(1)</script>",
        "<img src=http://example.org/x.png onerror=alert(2)>",
    ]


def test_links_lead_to_the_sections(read):
    page = read("closed", SCREEN)
    for link in page.locator("nav a").all():
        assert page.locator(link.get_attribute("href")).count() == 1


def test_bars_are_as_long_as_the_probabilities(read):
    """What is seen is what was computed: bars of one node are in proportion to its probabilities."""
    page = read("parts", SCREEN)
    widths = page.eval_on_selector_all(
        "#posterior .bar span", "all => all.map(s => s.getBoundingClientRect().width)"
    )
    shares = numpy.array(widths) / sum(widths)
    assert shares == pytest.approx(answers()["parts"]["kind"].probs.numpy(), abs=0.01)


def test_a_report_can_be_printed(read):
    """On paper nothing scrolls, nothing is cut off, and there is no navigation."""
    page = read("parts", {"width": 700, "height": 900}, "dark")
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    cut = page.eval_on_selector_all(
        ".scroll", "all => all.filter(s => s.scrollWidth > innerWidth).length"
    )
    assert cut == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
