"""The app without a name, in a terminal: a list over the bundled network, which is there at once."""

from tui_prune.session.session import Session

ENTER, ESCAPE = "\r", "\x1b"


def test_the_list_is_closed_and_the_digits_are_there(open_terminal) -> None:
    app = open_terminal()
    first = app.wait_for("Open a network")
    assert "a file…" in first
    app.wait_for("nin_digits.safetensors")
    app.wait_for("Open a network")
    app.press(ESCAPE)
    app.wait_for(lambda text: "tnn_bin" in text and "Open a network" not in text)
    app.press("q")
    assert app.wait_for_end() == 0


def test_keys_that_are_pressed_at_once_reach_the_main_screen(open_terminal) -> None:
    app = open_terminal()
    app.wait_for("Open a network")
    app.press("g", "5", "0", ENTER)
    text = app.wait_for("→  96")
    assert "Open a network" not in text
    app.press("u", "q")
    assert app.wait_for_end() == 0


def test_a_name_is_typed(open_terminal) -> None:
    app = open_terminal()
    app.wait_for("Open a network")
    app.press("/", *"nin_grouped_same", ENTER)
    app.wait_for(lambda text: "nin_grouped_same_width" in text and "Open a network" not in text and "params" in text)
    app.press("q")
    assert app.wait_for_end() == 0


def test_a_pruned_digits_network_is_asked_by_the_digits_task(open_terminal, tmp_path) -> None:
    session = Session.open("nin")
    session.set_ratio(0.25)
    session.save(tmp_path / "nin-pruned.pt")
    app = open_terminal("nin-pruned.pt")
    app.wait_for(lambda text: "tnn_bin" in text and "acc" in text.split("\n")[0])
    app.press("q")
    assert app.wait_for_end() == 0
