"""Seeing every operator that runs, without PyTorch's compiler."""

from torch.utils._python_dispatch import TorchDispatchMode


class OperatorMode(TorchDispatchMode):
    """A context in which each operator of PyTorch that runs comes through `__torch_dispatch__`.

    PyTorch would wrap that method so that its compiler leaves it alone. That imports the compiler, which takes as long
    as importing PyTorch itself, and costs time at each operator. Nothing is compiled under these modes: compiled code
    runs as it was written there (`trace.evaluating`).
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
