"""The tasks that lra-bench ships: name -> "module:Class". Presets share a class and differ in `configs/task/`."""

TABLE = {
    "adding": "lra_bench.tasks.recall:Adding",
    "associative_recall": "lra_bench.tasks.recall:AssociativeRecall",
    "copying": "lra_bench.tasks.recall:Copying",
    "induction_heads": "lra_bench.tasks.recall:InductionHeads",
    "lds": "lra_bench.tasks.lds:LDS",
    "lds_asymmetric": "lra_bench.tasks.lds:LDS",
    "lds_complex": "lra_bench.tasks.lds:LDS",
    "lds_large": "lra_bench.tasks.lds:LDS",
    "lds_noisy": "lra_bench.tasks.lds:LDS",
    "path256": "lra_bench.tasks.pathfinder:Path256",
    "pathfinder": "lra_bench.tasks.pathfinder:Pathfinder",
    "pathx": "lra_bench.tasks.pathfinder:PathX",
    "retrieval": "lra_bench.tasks.retrieval:Retrieval",
    "selective_copying": "lra_bench.tasks.recall:SelectiveCopying",
    "image": "lra_bench.tasks.image:Image",
    "image_rgb": "lra_bench.tasks.image:ImageRGB",
    "listops": "lra_bench.tasks.listops:ListOps",
    "text": "lra_bench.tasks.text:Text",
}
