import pytest
import torch

from lra_bench.core.mixer import MixerConfig
from lra_bench.core.specs import MixerContext
from lra_bench.nn.bidirectional import Bidirectional, reverse
from tests.test_backbone import REGRESSION, Running, batch_for, build

CTX = MixerContext(d_model=3, d_out=2, max_len=9)


def both_ways(directions: str) -> Bidirectional:
    torch.manual_seed(0)
    return Bidirectional(lambda ctx: Running(MixerConfig(), ctx), CTX, directions)


def test_only_the_real_prefix_is_reversed():
    x = torch.arange(8.0).reshape(2, 4, 1)
    mask = torch.tensor([[True, True, True, False], [True, False, False, False]])
    assert reverse(x, mask).flatten().tolist() == [2, 1, 0, 3, 4, 5, 6, 7]
    assert reverse(x, None).flatten().tolist() == [3, 2, 1, 0, 7, 6, 5, 4]
    assert torch.equal(reverse(reverse(x, mask), mask), x)


@pytest.mark.parametrize("directions", ["tied", "separate"])
def test_each_sequence_gives_what_it_gives_without_padding(directions):
    net, batch = both_ways(directions), batch_for(REGRESSION, fill=100)
    padded = net(batch.x, batch.mask)
    for row, length in enumerate((9, 5, 1)):
        torch.testing.assert_close(padded[row, :length], net(batch.x[row : row + 1, :length])[0])


def test_reversing_time_reverses_a_tied_output():
    net, x = both_ways("tied"), torch.randn(2, 9, 3)
    torch.testing.assert_close(net(x.flip(1)), net(x).flip(1))


def test_separate_directions_have_their_own_weights():
    tied, separate = (sum(p.numel() for p in both_ways(kind).parameters()) for kind in ("tied", "separate"))
    assert separate == 2 * tied


@pytest.mark.parametrize(("directions", "paths"), [("tied", 2), ("separate", 4), ("one", 2)])
def test_the_backbone_knows_every_mixer_by_its_path(directions, paths):
    net = build(REGRESSION, directions=directions)
    assert len(net.mixers) == paths
    assert all(net.get_submodule(path) is mixer for path, mixer in net.mixers.items())


def test_the_context_says_whether_looking_ahead_is_allowed():
    assert {mixer.ctx.causal for mixer in build(REGRESSION, causal=False).mixers.values()} == {False}
