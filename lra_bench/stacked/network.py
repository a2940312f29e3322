"""Networks that differ in their numbers alone, as one.

Each parameter is a stack over the networks, and one `vmap` of one network's forward pass computes them all. Buffers
that are equal in all networks, such as filters, are not stacked, so what is computed from them is computed once.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lra_bench.core.batch import Batch

Tensors = dict[str, Tensor]


class StackedNet:
    """M networks of one architecture.

    Args:
        nets: the networks; the first one lends its forward pass.
        device: where they are computed.

    Attributes:
        parameters: name -> (M, ...), what is trained.
        own: name -> (M, ...), other tensors of which each network has its own.
        shared: name -> (...), other tensors that are the same in all.
    """

    def __init__(self, nets: Sequence[nn.Module], device: torch.device) -> None:
        self._net = nets[0].to(device)
        self.parameters: Tensors = {}
        self.own: Tensors = {}
        self.shared: Tensors = {}
        everything = [{**dict(net.named_parameters()), **dict(net.named_buffers())} for net in nets]
        names = {id(tensor): name for name, tensor in everything[0].items()}
        self._saved = {name: names[id(tensor)] for name, tensor in self._net.state_dict(keep_vars=True).items()}
        for name, first in everything[0].items():
            values = [tensors[name].detach() for tensors in everything]
            if first.requires_grad:
                self.parameters[name] = torch.stack(values).to(device).requires_grad_()
            elif all(torch.equal(value, values[0]) for value in values[1:]):
                self.shared[name] = values[0].to(device)
            else:
                self.own[name] = torch.stack(values).to(device)

    def __len__(self) -> int:
        return len(next(iter(self.parameters.values())))

    def __call__(self, batch: Batch, of_each: bool, training: bool, tensors: Tensors | None = None) -> Tensor:
        """Outputs (M, ...) of the networks.

        Args:
            batch: that all read, or with a leading dimension M.
            of_each: whether it has that dimension.
            training: whether the networks are in training mode.
            tensors: what to compute with instead of all networks' own tensors, as `some` or `with_weights` give it.
        """
        self._net.train(training)
        where = Batch._make(0 if of_each and part is not None else None for part in batch)
        own = {**self.parameters, **self.own} if tensors is None else tensors
        outputs: Tensor = torch.vmap(self._forward, in_dims=(0, where))(own, batch)
        return outputs

    def some(self, members: slice) -> Tensors:
        """The own tensors of some of the networks."""
        return {name: value[members] for name, value in {**self.parameters, **self.own}.items()}

    def with_weights(self, members: Tensor, weights: Sequence[Tensors]) -> Tensors:
        """The own tensors of some of the networks, by index, with other weights in them."""
        return {
            name: torch.stack([each[name] for each in weights]).to(value) if name in weights[0] else value[members]
            for name, value in {**self.parameters, **self.own}.items()
        }

    def keep(self, members: Tensor) -> None:
        """Go on with some of the networks, by index."""
        self.parameters = {name: value.detach()[members].requires_grad_() for name, value in self.parameters.items()}
        self.own = {name: value[members] for name, value in self.own.items()}

    def weights(self, member: int) -> Tensors:
        """What the `state_dict` of one of the networks would hold, on the CPU: a shared weight under all its names."""
        tensors = {**self.shared, **{name: value[member] for name, value in {**self.parameters, **self.own}.items()}}
        return {saved: tensors[name].detach().cpu().clone() for saved, name in self._saved.items()}

    def load(self, weights: Sequence[Tensors]) -> None:
        """Put such weights in, one for each network."""
        for name, value in {**self.parameters, **self.own}.items():
            if name in weights[0]:
                value.data.copy_(torch.stack([each[name] for each in weights]))

    def _forward(self, own: Tensors, batch: Batch) -> Tensor:
        outputs: Tensor = functional_call(self._net, {**self.shared, **own}, (batch,))
        return outputs
