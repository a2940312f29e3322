"""The tasks that lra-bench ships: name -> "module:Class". Presets share a class and differ in `configs/task/`."""

TABLE = {
    "lds": "lra_bench.tasks.lds:LDS",
    "lds_complex": "lra_bench.tasks.lds:LDS",
    "lds_large": "lra_bench.tasks.lds:LDS",
    "lds_noisy": "lra_bench.tasks.lds:LDS",
}
