"""Networks from the user's own file: "net.py:make"."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.loading.open_model import open_model
from tui_prune.loading.sources.factory_file import load_factory

NET = """
from torch import nn
from layers import width

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
    def forward(self, x):
        return self.conv(x)

def make():
    import later
    return Net()

def make_wide(width):
    return Net()

ready = Net()
number = 3
def wrong(): return 3
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    (tmp_path / "layers.py").write_text("width = 8\n")
    (tmp_path / "later.py").write_text("")
    (tmp_path / "net.py").write_text(NET)
    yield tmp_path / "net.py"
    for name in ("layers", "later"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("factory", ["make", "Net", "ready"])
def test_a_function_a_class_or_a_module_can_be_named(net: Path, factory: str) -> None:
    path = list(sys.path)
    opened = open_model(f"{net}:{factory}", input_spec="1,3,8,8")
    assert opened.title == f"net.py:{factory}"
    assert (opened.origin.kind, opened.origin.name) == ("file", f"{net}:{factory}")
    assert opened.module(*opened.example_inputs).shape == (1, 8, 6, 6)
    assert not opened.module.training
    assert sys.path == path


def test_weights_go_into_the_network_of_the_file(net: Path, tmp_path: Path) -> None:
    weights = {"conv.weight": torch.ones(8, 3, 3, 3), "conv.bias": torch.zeros(8)}
    torch.save({"model": weights}, tmp_path / "w.pt")
    opened = open_model(f"{net}:make", weights=tmp_path / "w.pt")
    assert opened.weights == "w.pt"
    assert torch.equal(opened.module.conv.weight, weights["conv.weight"])


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("{net}", r"Say which function or class of net\.py makes the network, as in .*net\.py:make"),
        ("{net}:mak", r"net\.py has no 'mak'\. Did you mean make"),
        ("{net}:number", r"number in net\.py is no function"),
        ("{net}:wrong", r"wrong\(\) in net\.py returns a int"),
        ("{folder}/nothing.py:make", r"There is no file .*nothing\.py"),
    ],
)
def test_what_names_no_network_is_wrong_use(net: Path, spec: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        load_factory(spec.format(net=net, folder=net.parent))()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("import torch\n\nx = undefined_name\n", r"net\.py, line 3: NameError: name 'undefined_name' is not defined"),
        ("def make(:\n", r"net\.py, line 1: SyntaxError"),
        ("import nowhere_to_be_found\n", r"net\.py, line 1: ModuleNotFoundError: No module named 'nowhere"),
        ("import sys\nsys.exit(3)\n", r"net\.py, line 2: SystemExit: 3, while the file was imported"),
        ("def make():\n    return 1 / 0\n", r"net\.py, line 2: ZeroDivisionError.*while make\(\) made the network"),
        ("def make(width):\n    pass\n", r"net\.py: TypeError: make\(\) missing 1 required positional argument"),
    ],
)
def test_errors_of_the_users_code_come_with_their_line(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "net.py").write_text(text)
    with pytest.raises(TuiPruneError, match=sentence) as raised:
        load_factory(f"{tmp_path}/net.py:make")()
    assert not isinstance(raised.value, UsageError)


def test_two_files_of_one_name_do_not_meet(tmp_path: Path) -> None:
    networks = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.py").write_text(
            f"from torch import nn\ndef make(): return nn.{'ReLU' if folder == 'one' else 'GELU'}()\n"
        )
        networks.append(load_factory(f"{tmp_path}/{folder}/net.py:make")())
    assert [type(network) for network in networks] == [nn.ReLU, nn.GELU]
