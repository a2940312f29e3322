"""Compiles the CUDA kernels to machine code, as far as that can be done without a GPU: `python -m ...`.

Prints, as JSON, the bytes of shared memory, and which kinds of instruction the code holds.
"""

import json
import sys
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from lra_bench.nn.ops.kernels import recurrence, scan
from lra_bench.nn.ops.kernels import spectral_product as product

SCAN = {"T": scan.TIME, "C": scan.CHANNELS}
LARGEST_TAPS = {"R": recurrence.ROWS, "S": 256, "W": 128}

BUILDS: dict[str, tuple[Any, dict[str, int], dict[str, Any]]] = {
    "scan": (scan._segments, {"num_warps": 1}, {"reverse": False, "continued": True, "ends": False, **SCAN}),
    "scan ends": (
        scan._segments,
        {"num_warps": 1},
        {"reverse": True, "continued": False, "ends": True, **SCAN},
    ),
    "recurrence": (recurrence._steps, {"num_warps": 16}, {"reverse": True, **LARGEST_TAPS}),
    "spectral_product": (product._product, {"num_warps": 8}, {"b_tile": product.BATCH, **product.PRODUCT_TILE}),
    "spectral_product_weights": (
        product._weights_gradient,
        {"num_warps": 16, "num_stages": 1},
        {"j_tile": 64, **product.GRADIENT_TILE},
    ),
}
POINTERS = {"decay", "x", "starts", "out", "taps", "outputs", "U", "G", "bank", "weights", "Y", "sums"}


def compiled(kernel: Any, options: dict[str, int], constants: dict[str, Any], capability: int) -> Any:
    """As it is specialised where all sizes and addresses are multiples of 16."""
    names = kernel.arg_names
    types = {name: "*fp32" if name in POINTERS else "i32" for name in names}
    signature = {name: "constexpr" if name in constants else kind for name, kind in types.items()}
    places = {(names.index(name),): value for name, value in constants.items()}
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if name not in constants}
    source = ASTSource(kernel, signature, places, aligned)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def main(capability: int) -> None:
    found = {}
    for name, (kernel, options, constants) in BUILDS.items():
        binary = compiled(kernel, options, constants, capability)
        code = binary.asm["ptx"]
        kinds = [kind for kind in ("mma", "shfl", "ld.global.v4", "st.global.v4", "bar.sync") if kind in code]
        found[name] = {"shared": binary.metadata.shared, "bytes": len(binary.asm["cubin"]), "kinds": kinds}
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]))
