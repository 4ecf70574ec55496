"""Shapes of example inputs as they are written on the command line."""

import pytest
import torch

from tui_prune.errors import UsageError
from tui_prune.loading.input_spec import make_example_inputs


def test_one_image() -> None:
    (image,), keywords = make_example_inputs("1,3,32,32")
    assert keywords == {}
    assert image.shape == (1, 3, 32, 32)
    assert image.dtype == torch.float32
    assert 0.9 < image.std() < 1.1


def test_two_inputs_and_blanks() -> None:
    (first, second), _ = make_example_inputs(" 1, 3,32,32 ; 1,10")
    assert (first.shape, second.shape) == ((1, 3, 32, 32), (1, 10))


def test_a_list_of_images_as_detectors_take_it() -> None:
    (images,), _ = make_example_inputs("[3,64,48]")
    assert isinstance(images, list)
    assert [image.shape for image in images] == [(3, 64, 48)]


def test_inputs_that_are_passed_by_their_names() -> None:
    (image,), keywords = make_example_inputs("1,3,8,8; depth=1,4,8,8; words = 1,16:int; views=[3,8,8]")
    assert image.shape == (1, 3, 8, 8)
    assert list(keywords) == ["depth", "words", "views"]
    assert (keywords["depth"].shape, keywords["words"].dtype) == ((1, 4, 8, 8), torch.int64)
    assert [view.shape for view in keywords["views"]] == [(3, 8, 8)]


def test_another_number_format_for_all_but_whole_numbers() -> None:
    (image, tokens), keywords = make_example_inputs("1,3,8,8;1,5:int;mask=1,5", dtype=torch.bfloat16)
    assert (image.dtype, tokens.dtype, keywords["mask"].dtype) == (torch.bfloat16, torch.int64, torch.bfloat16)


def test_whole_numbers_for_an_embedding() -> None:
    (tokens,), _ = make_example_inputs("1,16:int")
    assert tokens.dtype == torch.int64
    assert set(tokens.unique().tolist()) <= {0, 1}


def test_the_same_spec_makes_the_same_input() -> None:
    torch.manual_seed(1)
    (one,), _ = make_example_inputs("2,5")
    torch.manual_seed(2)
    (other,), _ = make_example_inputs("2,5")
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "1,3,",
        "1x3x32x32",
        "-1,3",
        "1,0,3",
        "a",
        "1,3;",
        "[1,3",
        "1.5,2",
        "99999,99999,9",
        "1,3:float",
        "=1,3",
        "1a=1,3",
        "a=1;a=2",
    ],
)
def test_what_is_no_shape_is_refused(spec: str) -> None:
    with pytest.raises(UsageError, match=r"example input|not the shape|names an input twice"):
        make_example_inputs(spec)
