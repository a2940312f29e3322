"""One of several processes that evaluate together: `python -m tests.parallel_evaluation RANK RANKS PORT FOLDER`."""

import json
import os
import sys
from pathlib import Path

import torch
from lightning import Trainer

from lra_bench.building import build_net, build_task
from lra_bench.config.compose import compose
from lra_bench.core.settings import OptimConfig
from lra_bench.data.feed import TaskFeed
from lra_bench.training.history import logged_metrics
from lra_bench.training.module import LitSequenceModel
from lra_bench.training.objectives import make_objective

BATCH_SIZES = (1, 3, 5, 64)


def evaluate(ranks: int, batch_size: int) -> dict[str, float]:
    """Test metrics of an untrained network; raises unless every example was seen."""
    words = ["task=tests.toy_tasks:Toy", "model=lru", "backbone.d_model=4", "backbone.depth=1"]
    config = compose([*words, f"train.eval_batch_size={batch_size}"]).config
    task = build_task(config)
    net = build_net(config, task.spec)
    sizes = {"val": task.size("val"), "test": task.size("test")}
    module = LitSequenceModel(net, make_objective(task.spec), [], OptimConfig(), 1, sizes)
    strategy = {"strategy": "ddp", "devices": ranks} if ranks > 1 else {"devices": 1}
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, use_distributed_sampler=False, **strategy
    )
    trainer.test(module, datamodule=TaskFeed(task), verbose=False)
    found = {f"test/{name}": value for name, value in logged_metrics(trainer, "test").items()}
    trainer.validate(module, datamodule=TaskFeed(task), verbose=False)
    return found | {f"val/{name}": value for name, value in logged_metrics(trainer, "val").items()}


if __name__ == "__main__":
    rank, ranks, port, out = sys.argv[1:]
    os.environ |= {"LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    torch.set_num_threads(1)
    results = {size: evaluate(int(ranks), size) for size in BATCH_SIZES}
    Path(out, f"{ranks}-{rank}.json").write_text(json.dumps(results))
