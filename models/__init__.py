"""The models that lra-bench ships: name -> "module:Class". Nothing is imported until a model is asked for."""

TABLE = {
    "lru": "lra_bench.models.lru:LRU",
    "s4d": "lra_bench.models.s4d:S4D",
    "stu": "lra_bench.models.stu:STU",
}
