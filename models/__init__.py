"""The models that lra-bench ships: name -> "module:Class". Presets share a class and differ in `configs/model/`."""

TABLE = {
    "lru": "lra_bench.models.lru:LRU",
    "s4d": "lra_bench.models.s4d:S4D",
    "stu": "lra_bench.models.stu:STU",
    "stu_ar": "lra_bench.models.stu:STU",
    "stu_released": "lra_bench.models.stu:STU",
}
