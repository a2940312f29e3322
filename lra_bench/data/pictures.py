"""Pictures as sequences of pixels, in raster order: stored as bytes, made real numbers or tokens on the device."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lra_bench.core.batch import Batch
from lra_bench.core.specs import InputKind
from lra_bench.data.datamodule import Source, Split
from lra_bench.data.prepared import PreparedTask
from lra_bench.data.residence import sent
from lra_bench.data.splits import Indices

LEVELS = 256


class PictureSource(Source):
    """A split of pictures with a class each; batches hold the pixels as stored, (B, H * W) or (B, H * W, C) uint8."""

    def __init__(self, pixels: NDArray[np.uint8], labels: NDArray[Any], rows: Indices) -> None:
        self.pixels = pixels
        self.labels = labels
        self.rows = rows
        self.size = len(rows)
        self.stored_bytes = self.size * int(np.prod(pixels.shape[1:]))

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        rows = self.rows[np.asarray(indices)]
        pixels = torch.from_numpy(self.pixels.take(rows, axis=0))
        return Batch(pixels, torch.from_numpy(self.labels[rows].astype(np.int64)))

    def on(self, device: torch.device) -> Source:
        """The same pictures, kept on a device."""
        return PicturesOnDevice(self, device)


class PicturesOnDevice(Source):
    """A split of pictures that is kept on a device."""

    def __init__(self, source: PictureSource, device: torch.device) -> None:
        self.size = source.size
        self.device = device
        self.pixels = torch.from_numpy(source.pixels.take(source.rows, axis=0)).to(device)
        self.labels = torch.from_numpy(source.labels[source.rows].astype(np.int64)).to(device)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        at = sent(torch.tensor(indices), self.device)
        return Batch(self.pixels.index_select(0, at), self.labels.index_select(0, at))


class PictureTask(PreparedTask):
    """A task whose set holds `pixels`, (N, H * W) or (N, H * W, C) uint8."""

    @property
    @abstractmethod
    def image_shape(self) -> tuple[int, ...]:
        """(H, W) or (H, W, C)."""

    @cached_property
    @abstractmethod
    def scaling(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(shift, scale), each (C,): a pixel p becomes (p - shift) / scale."""

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """(N, H * W) or (N, H * W, C)."""
        stored: NDArray[np.uint8] = self.data.array("pixels")
        return stored

    def source(self, split: Split) -> Source:
        """The pictures of a split."""
        return PictureSource(self.pixels, self.data.labels, self.rows(split))

    def decode(self, batch: Batch) -> Batch:
        """Tokens (B, L) int64, or real numbers (B, L, C) float32."""
        if self.spec.input is InputKind.TOKENS:
            return batch._replace(x=batch.x.long())
        shift, scale = (torch.from_numpy(values).to(batch.x.device) for values in self.scaling)
        pixels = batch.x if batch.x.ndim == 3 else batch.x.unsqueeze(-1)
        return batch._replace(x=(pixels - shift) / scale)
