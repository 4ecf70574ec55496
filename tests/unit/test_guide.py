"""The guide: a file is a chapter, and what it says of commands is true."""

import re
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from tui_prune.app.bindings import MAIN
from tui_prune.app.keymap import key_name
from tui_prune.cli.main import app
from tui_prune.guide import Chapter, chapters, mentioning, topic_of

ROOT = Path(__file__).parents[2]
COMMAND = typer.main.get_command(app)


def guide(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["guide", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_a_new_file_is_a_new_chapter(tmp_path: Path) -> None:
    (tmp_path / "two-words.md").write_text("# Two words\n\nWhat `it` says; see [here](recipe.md). Not that.\n")
    (found,) = chapters(tmp_path).values()
    assert (found.topic, found.title, found.about) == ("two-words", "Two words", "What it says; see here.")


@pytest.mark.parametrize("one", chapters().values(), ids=lambda one: one.topic)
def test_a_chapter_has_a_title_a_summary_and_links_that_lead_somewhere(one: Chapter) -> None:
    assert one.title
    assert 0 < len(one.about) <= 125
    for link in re.findall(r"\]\((.*?)\)", one.text):
        assert topic_of(link) or link.startswith("https://"), link


def test_the_readme_links_to_every_chapter() -> None:
    linked = re.findall(r"\]\(tui_prune/guide/(.*?)\.md\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert set(linked) == set(chapters())


def test_options_and_commands_of_the_guide_exist() -> None:
    commands = COMMAND.commands  # type: ignore[attr-defined]
    options = {name for one in (COMMAND, *commands.values()) for option in one.params for name in option.opts}
    texts = [
        one.text for one in chapters().values() if one.topic not in ("benchmarks", "coverage")
    ]  # of other programs
    said = "\n".join([*texts, (ROOT / "README.md").read_text(encoding="utf-8")])
    others = re.compile(
        r"`(?:python|pip|pytest|trtexec|ovc|srun)[^`]*`|^(?:python|pip|.*pip install|.*pytest).*$", re.M
    )
    for line in others.sub("", said).splitlines():
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", line):
            assert option in options | {"--help", "--install-completion", "--system-site-packages"}, line
    for line in re.findall(r"^tui-prune (.*)$", said, re.MULTILINE):
        assert line.split()[0] in {*commands, "[MODEL]"}, line


def test_every_command_and_every_key_of_the_main_screen_is_in_its_chapter() -> None:
    commands, keys = chapters()["commands"].text, chapters()["keys"].text
    for name in COMMAND.commands:  # type: ignore[attr-defined]
        assert f"`tui-prune {name}" in commands, name
    for binding in (one for one in MAIN if not one.key.isdigit()):  # tabs have one row
        assert any(f"`{key_name(key)}`" in keys for key in binding.key.split(",")), binding


def test_a_chapter_is_printed_whole() -> None:
    for topic in ("coverage", "RECIPE"):
        assert guide(topic) == (0, chapters()[topic.lower()].text, "")


def test_the_list_of_chapters_has_each_with_its_summary() -> None:
    status, said, _ = guide()
    assert status == 0
    assert [line.split()[0] for line in said.splitlines()] == [*chapters()]
    assert all(one.about in said for one in chapters().values())


@pytest.mark.parametrize(
    ("topic", "sentence"),
    [
        ("recipes", "The guide has no chapter 'recipes' (did you mean 'recipe'?); 'recipes' is in recipe"),
        ("qqqq", "The guide has no chapter 'qqqq'; tui-prune guide lists all."),
        ("", "The guide has no chapter ''; tui-prune guide lists all."),
    ],
)
def test_a_wrong_topic_is_a_sentence_that_leads_on(topic: str, sentence: str) -> None:
    status, said, wrong = guide(topic)
    assert (status, said) == (2, "")
    assert wrong.startswith(sentence)


def test_words_lead_to_the_chapters_that_have_them() -> None:
    assert mentioning("Wilson") == ("tasks",)
    assert mentioning(" ") == ()
