"""What predictors reach that learn nothing about order: the majority class, the first token, the bag of tokens."""

import json
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lra_bench.core.batch import Batch
from lra_bench.core.files import write_atomically
from lra_bench.data.datamodule import Source

Floors = dict[str, dict[str, float]]
BAG = "bag_of_tokens"
CHUNK = 256
"""Examples read at a time."""

FITTED = 25_000
"""Training examples, spread evenly, that the predictors are fitted to where there are more."""


def remembered(path: Path, train: Source, test: Source, n_classes: int) -> Floors:
    """The floors in a file, or measured and written there where the folder may be written.

    The bag of tokens needs scikit-learn (the extra `floors`); without it the others stand alone, and it is added when
    scikit-learn is there.
    """
    known: Floors = json.loads(path.read_text()) if path.is_file() else {}
    if not known or (BAG not in known and find_spec("sklearn")):
        known = measure(train, test, n_classes)
        with suppress(OSError):
            write_atomically(path, json.dumps(known, indent=1) + "\n")
    return known


def measure(train: Source, test: Source, n_classes: int) -> Floors:
    """Test accuracy of predictors fitted to (at most `FITTED` examples of) the training split.

    majority: the most frequent class. first_token: the most frequent class given the first token (of both documents
    of a pair; all channels of the first pixel). bag_of_tokens: logistic regression on how often each token, or level
    of a pixel's channel, occurs.
    """
    assert train.size is not None
    assert test.size is not None
    fitted = np.linspace(0, train.size - 1, min(train.size, FITTED)).astype(int).tolist()
    train_features, train_first, train_labels = _summarised(train, fitted)
    test_features, test_first, test_labels = _summarised(test, list(range(test.size)))
    majority = int(np.bincount(train_labels).argmax())
    floors = {"majority": test_labels == majority, "first_token": np.zeros(len(test_labels), dtype=bool)}
    tokens, position = np.unique(train_first, return_inverse=True)
    by_token = np.zeros((len(tokens), n_classes), dtype=np.int64)
    np.add.at(by_token, (position, train_labels), 1)
    place = np.searchsorted(tokens, test_first).clip(max=len(tokens) - 1)
    predicted = np.where(tokens[place] == test_first, by_token.argmax(1)[place], majority)
    floors["first_token"] = predicted == test_labels
    if find_spec("sklearn"):
        floors[BAG] = _bag_predictions(train_features, train_labels, test_features) == test_labels
    return {name: {"accuracy": float(right.mean())} for name, right in floors.items()}


def _bag_predictions(train: NDArray[Any], labels: NDArray[Any], test: NDArray[Any]) -> NDArray[Any]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    occur = train.any(axis=0)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    predictions: NDArray[Any] = model.fit(train[:, occur], labels).predict(test[:, occur])
    return predictions


def _summarised(source: Source, indices: list[int]) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Square roots of token frequencies (N, features), the first token (N,), the label (N,)."""
    features, first, labels = [], [], []
    for start in range(0, len(indices), CHUNK):
        batch = source.__getitems__(indices[start : start + CHUNK])
        features.append(_frequencies(batch))
        first.append(_first_tokens(batch))
        labels.append(batch.y.numpy())
    return np.concatenate(features), np.concatenate(first), np.concatenate(labels)


def _frequencies(batch: Batch) -> NDArray[np.float32]:
    single = _counted(batch.x.numpy(), None if batch.mask is None else batch.mask.numpy())
    if batch.x2 is None:
        return single
    other = _counted(batch.x2.numpy(), None if batch.mask2 is None else batch.mask2.numpy())
    return np.concatenate([single, other, np.abs(single - other)], axis=1)


def _counted(x: NDArray[Any], mask: NDArray[Any] | None) -> NDArray[np.float32]:
    """(B, L) or (B, L, C) small ids -> (B, 257 * C) square roots of frequencies."""
    channels = x[..., None] if x.ndim == 2 else x
    width = 257
    found = []
    for channel in np.moveaxis(channels, -1, 0):
        slots = channel.astype(np.int64) + width * np.arange(len(channel))[:, None]
        counted = slots.ravel() if mask is None else slots[mask]
        found.append(np.bincount(counted, minlength=width * len(channel)).reshape(len(channel), width))
    counts = np.concatenate(found, axis=1).astype(np.float32)
    roots: NDArray[np.float32] = np.sqrt(counts / counts.sum(axis=1, keepdims=True))
    return roots


def _first_tokens(batch: Batch) -> NDArray[np.int64]:
    """One number for the first step: all its channels, and that of the second document."""
    first = batch.x[:, 0].reshape(len(batch.x), -1).numpy().astype(np.int64)
    if batch.x2 is not None:
        first = np.concatenate([first, batch.x2[:, :1].numpy().astype(np.int64)], axis=1)
    return first @ (512 ** np.arange(first.shape[1]))
