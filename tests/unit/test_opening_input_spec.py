"""Shapes of example inputs as they are written on the command line."""

import pytest
import torch

from tui_prune.errors import UsageError
from tui_prune.opening.input_spec import make_example_inputs


def test_one_image() -> None:
    (image,) = make_example_inputs("1,3,32,32")
    assert image.shape == (1, 3, 32, 32)
    assert image.dtype == torch.float32
    assert 0.9 < image.std() < 1.1


def test_two_inputs_and_blanks() -> None:
    first, second = make_example_inputs(" 1, 3,32,32 ; 1,10")
    assert (first.shape, second.shape) == ((1, 3, 32, 32), (1, 10))


def test_a_list_of_images_as_detectors_take_it() -> None:
    (images,) = make_example_inputs("[3,64,48]")
    assert isinstance(images, list)
    assert [image.shape for image in images] == [(3, 64, 48)]


def test_whole_numbers_for_an_embedding() -> None:
    (tokens,) = make_example_inputs("1,16:int")
    assert tokens.dtype == torch.int64
    assert set(tokens.unique().tolist()) <= {0, 1}


def test_the_same_spec_makes_the_same_input() -> None:
    torch.manual_seed(1)
    (one,) = make_example_inputs("2,5")
    torch.manual_seed(2)
    (other,) = make_example_inputs("2,5")
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    "spec", ["", "1,3,", "1x3x32x32", "-1,3", "1,0,3", "a", "1,3;", "[1,3", "1.5,2", "99999,99999,9", "1,3:float"]
)
def test_what_is_no_shape_is_refused(spec: str) -> None:
    with pytest.raises(UsageError, match=r"example input|not the shape"):
        make_example_inputs(spec)
