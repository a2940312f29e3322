"""Stacks of models in operations that treat channels apart: under `vmap`, members are further channels."""

from collections.abc import Sequence

from torch import Tensor


def as_channels(
    tensors: Sequence[Tensor | None], stacked: Sequence[int | None], members: int, channels: Sequence[int]
) -> list[Tensor | None]:
    """The members' channels side by side, member by member.

    Args:
        tensors: of all members, or of each alike; or None, which stays so.
        stacked: along which dimension the members are, as `vmap` gives it; None where they share the tensor.
        members: how many.
        channels: which dimension of one member's tensor the channels are.

    Returns:
        Tensors as one member has them, with `members` times as many channels.
    """
    return [
        None if x is None else _folded(x, dim, members, axis)
        for x, dim, axis in zip(tensors, stacked, channels, strict=True)
    ]


def _folded(x: Tensor, stacked: int | None, members: int, channels: int) -> Tensor:
    whole = x.expand(members, *x.shape) if stacked is None else x.movedim(stacked, 0)
    return whole.movedim(0, channels).flatten(channels, channels + 1)


def unfolded(x: Tensor, members: int, channels: int) -> Tensor:
    """The inverse: the dimension `channels` split into members and the channels of each."""
    return x.reshape(*x.shape[:channels], members, -1, *x.shape[channels + 1 :])
