"""timm's networks by name: they open where timm is installed, and come back from a checkpoint; elsewhere a sentence."""

import json
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import tui_prune
from tests.exactness import only_kept_heads, prune_exactly, randomise_norms
from tui_prune.archives.origin import Origin
from tui_prune.cli.main import app
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.loading.building import build
from tui_prune.loading.open_model import RANDOM_WEIGHTS, open_model
from tui_prune.loading.origins import origin_of
from tui_prune.saving.checkpoint import verify_checkpoint
from tui_prune.session.session import Session


@pytest.fixture
def without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)


@pytest.mark.usefixtures("without_timm")
def test_without_timm_a_sentence_says_how_to_get_it() -> None:
    with pytest.raises(UsageError, match=r"timm isn't installed.*pip install timm$"):
        open_model("timm:resnet18")
    with pytest.raises(UsageError, match=r"timm isn't installed.*pip install timm$"):
        build(Origin("timm", "resnet18"), "meta")


class TestWithTimm:
    @pytest.fixture(autouse=True)
    def timm(self) -> None:
        self.timm = pytest.importorskip("timm")

    def test_a_name_opens_with_random_weights_and_an_input_that_suits_it(self) -> None:
        opened = open_model("timm:mobilenetv3_small_050.lamb_in1k")
        assert (opened.title, opened.input_spec) == ("mobilenetv3_small_050.lamb_in1k", "1,3,224,224")
        assert opened.origin == Origin("timm", "mobilenetv3_small_050.lamb_in1k")
        assert opened.notes == (RANDOM_WEIGHTS,)
        assert opened.module(*opened.example_inputs).shape == (1, 1000)
        assert open_model("timm:efficientvit_b1.r256_in1k").input_spec == "1,3,256,256"

    @pytest.mark.parametrize("name", ["resnet81", "hf-hub:timm/resnet18", "local-dir:/tmp"])
    def test_another_name_is_wrong_use_and_nothing_is_fetched(self, name: str) -> None:
        with pytest.raises(UsageError, match=rf"has no network '{name}'\."):
            open_model(f"timm:{name}")

    def test_a_close_name_is_offered(self) -> None:
        with pytest.raises(UsageError, match=r"Did you mean .*timm:resnet18\b"):
            open_model("timm:resnet81")

    def test_inspect_says_how_much_can_be_cut(self) -> None:
        done = CliRunner().invoke(app, ["inspect", "timm:resnet18", "--input", "1,3,64,64", "--json"])
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["cuttable_share"] > 0.99

    def test_trained_weights_go_in_with_their_number_of_classes(self, tmp_path: Path) -> None:
        trained = self.timm.create_model("resnet10t", num_classes=7)
        torch.save(trained.state_dict(), tmp_path / "w.pt")
        opened = open_model("timm:resnet10t", weights=tmp_path / "w.pt", input_spec="1,3,64,64")
        assert opened.origin == Origin("timm", "resnet10t", {"num_classes": 7})
        assert torch.equal(opened.module(*opened.example_inputs), trained.eval()(*opened.example_inputs))

    def test_a_pruned_one_comes_back_from_its_checkpoint(self, tmp_path: Path) -> None:
        session = Session(open_model("timm:resnet10t", input_spec="1,3,64,64"), probing=False)
        session.set_ratio(0.5)
        path = session.save(tmp_path / "out.pt")
        loaded, cut = tui_prune.load(path), session.cut().model
        image = torch.randn(2, 3, 96, 96)
        assert torch.equal(loaded(image), cut(image))
        assert verify_checkpoint(path).ok
        assert open_model(str(path)).origin == Origin("timm", "resnet10t")

    def test_a_checkpoint_needs_timm_too(self, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        module = self.timm.create_model("resnet10t")
        tui_prune.save(tmp_path / "out.pt", tui_prune.prune(module, torch.randn(1, 3, 64, 64), ratio=0.5))
        request.getfixturevalue("without_timm")
        with pytest.raises(TuiPruneError, match=r"timm isn't installed"):
            tui_prune.load(tmp_path / "out.pt")

    def test_a_module_made_by_timm_is_known_by_its_name(self) -> None:
        made = self.timm.create_model("mobilenetv3_small_050", num_classes=10)
        assert origin_of(made) == Origin("timm", "mobilenetv3_small_050", {"num_classes": 10})
        made.conv_stem.stride = (1, 1)
        assert origin_of(made).kind == "module"

    def test_attention_gets_narrower_with_the_tokens(self) -> None:
        """It keeps the width of all heads together as a number of its own."""
        torch.manual_seed(0)
        model = randomise_norms(self.timm.create_model("vit_tiny_patch16_224", depth=2)).eval()
        result = prune_exactly(model, torch.randn(1, 3, 224, 224), reference=only_kept_heads)
        assert result.model.blocks[0].attn.attn_dim == 96
        assert result.plan.after.params < 0.4 * result.plan.before.params
