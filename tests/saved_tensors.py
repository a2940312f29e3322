"""What autograd keeps for the backward pass."""

from collections.abc import Callable

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


def numbers_kept(forward: Callable[[], Tensor]) -> int:
    """Real numbers in the storages that it keeps, each counted once."""
    kept: dict[int, int] = {}

    def remember(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes() // tensor.real.element_size()
        return tensor

    with saved_tensors_hooks(remember, lambda tensor: tensor):
        forward()
    return sum(kept.values())
