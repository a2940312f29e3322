"""The models that lra-bench ships: name -> "module:Class". Presets share a class and differ in `configs/model/`."""

TABLE = {
    "dss": "lra_bench.models.dss:DSS",
    "gru": "lra_bench.models.rnn:RNN",
    "linear_attention": "lra_bench.models.linear_attention:LinearAttention",
    "long_conv": "lra_bench.models.long_conv:LongConv",
    "lru": "lra_bench.models.lru:LRU",
    "lstm": "lra_bench.models.rnn:RNN",
    "mamba": "lra_bench.models.mamba:Mamba",
    "s4": "lra_bench.models.s4:S4",
    "s4d": "lra_bench.models.s4d:S4D",
    "s5": "lra_bench.models.s5:S5",
    "stu": "lra_bench.models.stu:STU",
    "stu_ar": "lra_bench.models.stu:STU",
    "stu_released": "lra_bench.models.stu:STU",
    "stu_t": "lra_bench.models.stu_t:STUT",
    "stu_t_released": "lra_bench.models.stu_t:STUT",
    "stu_zl": "lra_bench.models.stu:STU",
    "transformer": "lra_bench.models.transformer:Attention",
}
