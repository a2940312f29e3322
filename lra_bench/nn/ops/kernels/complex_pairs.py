"""Complex numbers in Triton: pairs side by side in memory, a real and an imaginary tensor in registers.

A tile is (rows, `columns`) complex numbers, those of a row side by side. It is fetched as twice as many real columns,
which tells the compiler to spread threads along them, 16 bytes each.
"""

import triton
import triton.language as tl


@triton.jit
def load_complex(base, offsets, first, count, inside, columns: tl.constexpr):
    """Real and imaginary parts, (R, columns), of base[offsets + first + 0, 1, ...], zeros where there is nothing.

    Args:
        base: pointer to float32 pairs.
        offsets: (R, 1) int, of the rows.
        first: the first column.
        count: how many columns there are in memory.
        inside: (R, 1) bool, which rows there are.
        columns: of the tile.
    """
    real_column = 2 * first + tl.arange(0, 2 * columns)
    x = tl.load(base + 2 * offsets + real_column, mask=inside & (real_column < 2 * count), other=0.0)
    return tl.split(tl.reshape(x, [x.shape[0], columns, 2]))


@triton.jit
def store_complex(base, offsets, first, count, inside, real, imag):
    """The opposite of `load_complex`."""
    real_column = 2 * first + tl.arange(0, 2 * real.shape[1])
    x = tl.reshape(tl.join(real, imag), [real.shape[0], 2 * real.shape[1]])
    tl.store(base + 2 * offsets + real_column, x, mask=inside & (real_column < 2 * count))
