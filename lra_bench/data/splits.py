"""Which examples train, select and test. Everything here is a function of labels, content hashes and a seed."""

import numpy as np
import torch
from numpy.typing import NDArray

Indices = NDArray[np.int64]

VAL_SHARE = 10
"""One in so many official training examples validates where there is no validation split."""


def without_content_of(indices: Indices, others: Indices, hashes: NDArray[np.uint64]) -> Indices:
    """Those of `indices` whose content does not occur among `others`."""
    return indices[~np.isin(hashes[indices], hashes[others])]


def made_disjoint(
    train: Indices, val: Indices, test: Indices, hashes: NDArray[np.uint64]
) -> tuple[Indices, Indices, Indices]:
    """The splits without what occurs in a later one: the test split stays whole."""
    kept = without_content_of(val, test, hashes)
    return without_content_of(train, np.concatenate([val, test]), hashes), kept, test


def carved(
    train: Indices, test: Indices, labels: NDArray[np.uint8], hashes: NDArray[np.uint64], seed: int
) -> tuple[Indices, Indices]:
    """Training and validation split of official training data without one, less what occurs in the test set too."""
    return carve(without_content_of(train, test, hashes), len(train) // VAL_SHARE, labels, hashes, seed)


def s4_order(size: int) -> Indices:
    """The order that S4's random splits cut: torch's generator at seed 42 (state-spaces/s4, src/dataloaders)."""
    order: Indices = torch.randperm(size, generator=torch.Generator().manual_seed(42)).numpy()
    return order


def carve(
    pool: Indices, size: int, labels: NDArray[np.uint8], hashes: NDArray[np.uint64], seed: int
) -> tuple[Indices, Indices]:
    """Take a validation split out of a pool: stratified by class, exact duplicates on one side.

    Groups of examples with equal content are drawn in random order, class by class (that of the group's first
    example), until the class has its share of `size`. A group that would overshoot is passed over, so the split has
    `size` examples wherever there are enough groups of one.

    Returns:
        Training and validation indices, each in ascending order.
    """
    rng = np.random.default_rng([seed, len(pool)])
    _, first, group = np.unique(hashes[pool], return_index=True, return_inverse=True)
    members = np.bincount(group)
    group_label = labels[pool][first]
    chosen = np.zeros(len(members), dtype=bool)
    for label, share in _shares(labels[pool], size):
        order = rng.permutation(np.flatnonzero(group_label == label))
        left = share
        for index in order:
            if left == 0:
                break
            if members[index] <= left:
                chosen[index] = True
                left -= members[index]
    in_val = chosen[group]
    return pool[~in_val], pool[in_val]


def _shares(labels: NDArray[np.uint8], size: int) -> list[tuple[int, int]]:
    """(class, examples) in proportion to the classes' frequencies; remainders go to the largest fractions."""
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * size / counts.sum()
    shares = np.floor(exact).astype(int)
    for index in np.argsort(shares - exact, kind="stable")[: size - shares.sum()]:
        shares[index] += 1
    return [(int(label), int(share)) for label, share in zip(classes, shares, strict=True)]
