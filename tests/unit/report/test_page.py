"""The report as a page: whole, escaped, and without anything that a browser would have to fetch."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import tui_prune
from tui_prune.archives.pruned_file import read_checkpoint
from tui_prune.cli.main import app
from tui_prune.report.page import page, write_report

NAME = "<script>alert(1)</script>&\"'\x1b[2J"


class Net(nn.Module):
    """One of its parts has a name that would be code in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module("first<b>&", nn.Conv2d(3, 8, 3))
        self.last = nn.Linear(8, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.last(self.get_submodule("first<b>&")(image).relu().mean((2, 3)))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    right = [True] * 40 + [False] * 10
    task = tui_prune.Task(evaluate=lambda model: tui_prune.Score(right), calibration=lambda: [torch.randn(8, 3, 8, 8)])
    result = tui_prune.prune(Net().eval(), torch.randn(1, 3, 8, 8), ratio=0.5)
    result = tui_prune.recover(result, task, reconstruct=True, recalibrate=False)
    return tui_prune.save(tmp_path_factory.mktemp("report") / "out.pt", result)


def text_of(file: Path) -> str:
    return re.sub(r"\s+", " ", " ".join(ElementTree.parse(file).getroot().itertext()))


def test_it_says_what_was_cut_what_it_is_worth_and_how_to_load_it(saved: Path, tmp_path: Path) -> None:
    written = write_report(saved, tmp_path / "report.html", model=Net)
    said = text_of(written)
    for words in ("8 → 4", "model output", "80.0 %", "67.0 to 88.8 %", "tui_prune.load('out.pt'", "ratio 0.5", "MACs"):
        assert words in said, words
    assert said.count("first<b>&.weight") == 2  # the heading and the title of its histogram


def test_nothing_is_fetched_or_run(saved: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(saved)
    report = {**checkpoint.report, "model": NAME}
    report["locks"] = [{"layer": NAME, "reason": NAME, "where": NAME}]
    text = page(replace(checkpoint, report=report, recipe={NAME: NAME}, versions={NAME: NAME}), Path(NAME), {})
    elements = ElementTree.fromstring(text)
    assert not [one for one in elements.iter() if one.tag.rpartition("}")[2] in ("script", "img", "link", "iframe")]
    assert not [name for one in elements.iter() for name in one.attrib if name in ("src", "href") or name[:2] == "on"]
    assert "http" not in text.replace("http://www.w3.org/", "").replace("http-equiv", "")
    assert "\x1b" not in text and "default-src 'none'" in text


@pytest.mark.parametrize("value", [None, 1, "x", [], [1, None], {"before": None}, {"layers": [{}]}, float("nan")])
def test_a_report_of_anything_is_still_a_page(saved: Path, value: Any) -> None:
    checkpoint = read_checkpoint(saved)
    broken = dict.fromkeys((*checkpoint.report, "latency", "recovered"), value)
    ElementTree.fromstring(page(replace(checkpoint, report=broken), saved, {}))


def test_the_command_writes_it_and_leaves_what_is_there(saved: Path, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    assert CliRunner().invoke(app, ["report", str(saved), "-o", str(target)]).exit_code == 0
    assert "channels of each layer" in text_of(target)  # of a network that can't be built here
    again = CliRunner().invoke(app, ["report", str(saved), "-o", str(target)])
    assert again.exit_code == 1 and "exists already" in again.output


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.libraries
@pytest.mark.skipif(BROWSER is None, reason="there is no browser to look at it with")
def test_a_real_browser_shows_it_without_asking_for_anything(saved: Path, tmp_path: Path) -> None:
    written = write_report(saved, tmp_path / "report.html", model=Net)
    asked = "<script>window.addEventListener('load', () => document.title = JSON.stringify(performance.getEntriesByType"
    count = (
        f"{asked}('resource').map(one => one.name)) + document.querySelectorAll('svg *, td').length)</script></body>"
    )
    lax = re.sub(r"<meta http-equiv=.Content-Security-Policy.*?/>", "", written.read_text())  # which forbids scripts
    (tmp_path / "looked.html").write_text(lax.replace("</body>", count))
    quiet = ["--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom", f"--user-data-dir={tmp_path / 'browser'}"]
    shown = subprocess.run(
        [str(BROWSER), *quiet, f"file://{tmp_path / 'looked.html'}"], capture_output=True, text=True, timeout=120
    ).stdout
    title, *_ = re.findall(r"<title>(.*?)</title>", shown)
    fetched, parts = re.fullmatch(r"(\[.*\])(\d+)", title).groups()
    assert fetched == "[]" and int(parts) > 50
    assert "alert(1)" not in re.sub(r"&lt;.*?&gt;|<script>window.*?</script>", "", shown)
