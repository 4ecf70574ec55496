"""The rules of the house: style, who may import whom, and what starting up may cost."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tui_prune

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "torchvision", "textual", "plotext", "scipy"}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("arguments", [("check",), ("format", "--check")], ids=" ".join)
def test_ruff_has_nothing_to_say(arguments: tuple[str, ...]) -> None:
    done = run(sys.executable, "-m", "ruff", *arguments, ".")
    assert done.returncode == 0, done.stdout + done.stderr


def test_rooms_import_only_the_rooms_above_them() -> None:
    done = run(
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache', '--no-logo'])",
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "statement",
    [
        "import tui_prune; dir(tui_prune)",
        "import sys; sys.argv[1:] = ['--help']; from tui_prune.cli.main import main; main()",
        "import sys; sys.argv[1:] = ['--version']; from tui_prune.cli.main import main; main()",
        "import sys; sys.argv[1:] = ['prune', '--help']; from tui_prune.cli.main import main; main()",
        "import sys; sys.argv[1:] = ['guide', 'recipe']; from tui_prune.cli.main import main; main()",
        "import sys; sys.argv[1:] = ['prune', 'nin', '-o', 'x.pt', '--ratio', '2']; "
        "from tui_prune.cli.main import main; main()",
    ],
    ids=["import", "--help", "--version", "prune --help", "guide", "a wrong option"],
)
def test_starting_up_loads_nothing_heavy(statement: str) -> None:
    program = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print('loaded', json.dumps(sorted({name.split('.')[0] for name in sys.modules}))))\n"
        f"{statement}\n"
    )
    done = run(sys.executable, "-c", program)
    last = done.stdout.splitlines()[-1]
    assert last.startswith("loaded "), done.stdout + done.stderr
    assert not HEAVY & set(json.loads(last.removeprefix("loaded ")))


def test_a_cut_loads_no_compiler() -> None:
    """It takes as long to import as PyTorch itself, before the first tree of a network can be shown."""
    net = "torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 2))"
    cut = f"tui_prune.prune({net}, torch.ones(1, 4), ratio=0.5)"
    done = run(sys.executable, "-c", f"import sys, torch, tui_prune\n{cut}\nprint('torch._dynamo' in sys.modules)")
    assert done.stdout == "False\n", done.stderr


def test_every_export_exists() -> None:
    for name in tui_prune.__all__:
        assert getattr(tui_prune, name) is not None
    assert set(tui_prune.__all__) <= set(dir(tui_prune))
    with pytest.raises(AttributeError, match="no attribute 'prunes'"):
        _ = tui_prune.prunes


def test_version_is_the_same_everywhere() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", tui_prune.__version__)
    done = run(sys.executable, "-m", "tui_prune", "--version")
    assert done.stdout == f"tui-prune {tui_prune.__version__}\n"


def test_every_package_of_the_source_is_installed() -> None:
    listed = set(re.findall(r'^    "(tui_prune[\w.]*)",$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    here = {".".join(init.parent.relative_to(ROOT).parts) for init in ROOT.glob("tui_prune/**/__init__.py")} | {
        "tui_prune.models"
    }
    assert here <= listed


def test_continuous_integration_runs_the_command_of_the_readme() -> None:
    commands = re.findall(r"^python3 -m venv .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(commands) == 2
    assert [command for command in commands if command.endswith("pytest")] == commands[1:]
    done = run("bash", ".ci/run", "--print")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == commands[1]


def test_top_level_holds_only_what_was_agreed() -> None:
    agreed = {"pyproject.toml", "README.md", "tui_prune", "models", "tests", "screenshots"}
    tracked = run("git", "ls-files")
    if tracked.returncode != 0:
        pytest.skip("not a git checkout")
    top = {path.split("/")[0] for path in tracked.stdout.splitlines()}
    assert {name for name in top if not name.startswith(".")} <= agreed
