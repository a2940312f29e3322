"""The public contract suite: what every sequence mixer must do, ours and yours.

In a test of your own package:

    from lra_bench.testing import check_mixer

    def test_my_mixer():
        check_mixer(MyMixer)

`lra-bench check model NAME` runs the same checks, and two more, and prints a line for each.
"""

from lra_bench.testing.mixer import MixerCase, MixerCheck, check_mixer, mixer_checks

__all__ = ["MixerCase", "MixerCheck", "check_mixer", "mixer_checks"]
