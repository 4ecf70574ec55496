"""The two forms of a pruned checkpoint: both hold the same, and to others the second is a plain state dict."""

import dataclasses
import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor, nn
from typer.testing import CliRunner

import tui_prune
from tui_prune.archives.forms import FORMS, Form, form_of
from tui_prune.archives.pruned_file import checksum
from tui_prune.archives.safetensors_form import pack, read_safetensors
from tui_prune.cli.main import app
from tui_prune.errors import TuiPruneError
from tui_prune.loading.open_model import open_model
from tui_prune.planning.recipe import Recipe
from tui_prune.saving import whole_file
from tui_prune.saving.checkpoint import read_checkpoint, verify_checkpoint
from tui_prune.saving.estimate import expected_size
from tui_prune.saving.forms import in_form
from tui_prune.session.session import Session

Usage = namedtuple("Usage", ["total", "used", "free"])


class Tied(nn.Module):
    """A weight under two names, and a buffer that no state dict has."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.twice = nn.Conv2d(16, 16, 3, padding=1)
        self.again = nn.Conv2d(16, 16, 3, padding=1)
        self.again.weight = self.twice.weight
        self.head = nn.Linear(16, 4)
        self.register_buffer("scale", torch.linspace(0.5, 1.5, 16).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(torch.relu(self.twice(self.first(x) * self.scale)))
        return self.head(x.mean((2, 3)))


@pytest.fixture(scope="module")
def session() -> Session:
    torch.set_num_threads(1)
    return Session.open("nin", recipe=Recipe(ratio=0.5))


@pytest.fixture
def path(session: Session, tmp_path: Path) -> Path:
    return session.save(tmp_path / "out.safetensors")


def test_both_forms_hold_the_same(session: Session, path: Path, tmp_path: Path) -> None:
    ours, theirs = (read_checkpoint(one).to_content() for one in (path, session.save(tmp_path / "out.pt")))
    assert ours["checksum"] == theirs["checksum"]
    assert verify_checkpoint(path).ok
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(tui_prune.load(path)(image), session.cut().model.eval()(image))


def test_other_programs_read_a_plain_state_dict(session: Session, path: Path) -> None:
    state = safetensors.torch.load_file(path)
    assert state.keys() == session.cut().model.state_dict().keys()
    tui_prune.load(path).load_state_dict(state, strict=True)


def test_it_opens_and_can_be_pruned_again(path: Path, tmp_path: Path) -> None:
    again = Session.open(str(path), recipe=Recipe(ratio=0.5))
    second = again.save(tmp_path / "again.safetensors")
    assert verify_checkpoint(second).ok
    assert tui_prune.load(second).tnn_bin[0].out_channels == 48


def test_tied_weights_are_written_once_and_stay_tied(tmp_path: Path) -> None:
    result = tui_prune.prune(Tied(), torch.randn(1, 3, 8, 8), ratio=0.5)
    path = tui_prune.save(tmp_path / "out.safetensors", result)
    model = tui_prune.load(path, model=Tied())
    assert model.again.weight is model.twice.weight
    assert len(model.scale.flatten()) == 8
    assert sum(name.endswith(("twice.weight", "again.weight")) for name in safetensors.torch.load_file(path)) == 1


def test_what_json_cannot_say_comes_back_as_it_was(tmp_path: Path) -> None:
    tensor = torch.arange(3)
    content = {
        "tensors": {"a.weight": torch.ones(2)},
        "probe": {"inputs": (tensor, [tensor, None]), "outputs": [{"largest": float("inf")}]},
        "recipe": {"layers": {"tensor": 0.5}, "ratio": 0.1 + 0.2},
        "numbers": [float("-inf"), -0.0, 1e300, True],
    }
    path = tmp_path / "x.safetensors"
    path.write_bytes(pack(content))
    back = read_safetensors(path)
    assert checksum(back) == checksum(content)
    assert isinstance(back["probe"]["inputs"], tuple)
    assert back["recipe"] == content["recipe"]


@pytest.mark.parametrize("name", ["out.safetensors", "out.SafeTensors", "renamed.bin"])
def test_a_file_is_known_by_what_is_in_it(path: Path, name: str) -> None:
    renamed = path.with_name(name)
    path.rename(renamed)
    assert verify_checkpoint(renamed).ok


def test_altered_metadata_is_found(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = safetensors.torch.load_file(path)

    def write(text: str) -> None:
        safetensors.torch.save_file(tensors, path, {**metadata, "tui_prune": text})

    said = json.loads(metadata["tui_prune"])
    said["content"]["recipe"]["ratio"] = 0.9
    write(json.dumps(said))
    assert "damaged or altered" in verify_checkpoint(path).checks[0].detail
    for text in ("{", "[]", "{}", json.dumps({**said, "aliases": {"x": "y"}}), json.dumps({**said, "packed": "AAAA"})):
        write(text)
        with pytest.raises(TuiPruneError, match="damaged or altered"):
            tui_prune.load(path)


def test_one_flipped_bit_and_a_truncated_file_are_found(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)
    assert not verify_checkpoint(path).ok
    path.write_bytes(data[:-1000])
    with pytest.raises(TuiPruneError, match="no whole .safetensors file"):
        tui_prune.load(path)


def test_a_plain_state_dict_is_no_checkpoint_and_verify_says_so(path: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.safetensors"
    safetensors.torch.save_file(safetensors.torch.load_file(path), plain)
    report = verify_checkpoint(plain)
    assert not report.ok
    assert "is no pruned checkpoint" in report.checks[0].detail


def test_numbers_that_the_format_does_not_know_are_a_sentence(session: Session, tmp_path: Path) -> None:
    result = session.cut()
    odd = open_model("nin").module
    odd.register_buffer("odd", torch.zeros(2, dtype=torch.complex128))
    with pytest.raises(TuiPruneError, match="save it as .pt"):
        tui_prune.save(tmp_path / "out.safetensors", dataclasses.replace(result, model=odd))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_before_anything_is_written(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**6, 9 * 10**5, 10**5))
    with pytest.raises(TuiPruneError, match=r"needs 99\d kB, and the disk of .* has 100 kB left"):
        session.save(tmp_path / "out.pt")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_does_not_say_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(folder: Path) -> Usage:
        raise OSError("no idea")

    monkeypatch.setattr(whole_file.shutil, "disk_usage", fails)
    whole_file.check_space(tmp_path / "out.pt", 10**18)
    assert whole_file.free_space(tmp_path) is None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("name", "shape", "ratio"), [("nin", None, 0.9), ("resnet18", "1,3,64,64", 0.5), ("mobilenet_v2", "1,3,96,96", 0.0)]
)
def test_how_large_it_will_be_is_known_before(
    tmp_path: Path, form: str, name: str, shape: str | None, ratio: float
) -> None:
    session = Session.open(name, input_spec=shape, recipe=Recipe(ratio=ratio))
    expected = expected_size(session.opened, session.plan, form)
    assert session.save(tmp_path / f"out{form}").stat().st_size == pytest.approx(expected, rel=0.05)


def test_the_command_line_writes_and_verifies_it_and_exports_the_comparison(tmp_path: Path) -> None:
    out, table, report = (tmp_path / name for name in ("out.safetensors", "plan.md", "plan.json"))
    prune = ["prune", "nin", "-o", str(out), "--ratio", "0.5"]
    for exported in (table, report):
        done = CliRunner().invoke(app, [*prune, "--export", str(exported), "--force"])
        assert done.exit_code == 0, done.output
    assert "| `tnn_bin.0` | conv 5x5 | 192 → 96 |" in table.read_text()
    assert json.loads(report.read_text())["equivalence"]["kind"] == "exact"
    assert CliRunner().invoke(app, ["verify", str(out)]).exit_code == 0
    written = out.read_bytes()
    refused = CliRunner().invoke(app, [*prune[:3], str(tmp_path / "other.pt"), *prune[4:], "--export", str(table)])
    assert (refused.exit_code, (tmp_path / "other.pt").exists()) == (1, False)
    wrong = CliRunner().invoke(app, [*prune, "--force", "--export", str(tmp_path / "plan.doc")])
    assert (wrong.exit_code, out.read_bytes()) == (2, written)
    assert "ends in .md, .txt, .csv, .json, .toml" in wrong.output


def test_the_suffix_names_the_form() -> None:
    assert form_of(Path("a.safetensors")) == form_of(Path("a.SAFETENSORS")) == ".safetensors"
    assert form_of(Path("a")) == form_of(Path("a.pth")) == ".pt"
    assert in_form("x/net.v2", ".safetensors") == "x/net.v2.safetensors"
    assert in_form("x/net.pth", ".safetensors") == "x/net.safetensors"
    assert in_form("net.safetensors", ".pt") == "net.pt"


def test_a_form_is_added_by_a_file_and_a_line(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_users_form.py").write_text(
        "import io, torch\n"
        "def is_one(path, start): return start.startswith(b'MINE')\n"
        "def pack(content):\n"
        "    file = io.BytesIO()\n"
        "    torch.save(content, file)\n"
        "    return b'MINE' + file.getvalue()\n"
        "def read(path): return torch.load(io.BytesIO(path.read_bytes()[4:]), weights_only=True)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(FORMS, ".mine", Form("a form of mine", "a_users_form"))
    path = session.save(tmp_path / "out.mine")
    assert path.read_bytes().startswith(b"MINE")
    assert in_form("out.pt", ".mine") == "out.mine"
    loaded, cut = tui_prune.load(path), session.result().model
    x = session.opened.example_inputs[0]
    with torch.no_grad():
        assert torch.equal(loaded(x), cut(x))
    assert verify_checkpoint(path).ok
