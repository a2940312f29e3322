"""One of several processes that evaluate together: `python -m tests.parallel_evaluation RANK RANKS FOLDER`."""

import json
import sys
from pathlib import Path

import torch
from lightning import Trainer
from lightning.pytorch.strategies import DDPStrategy

from lra_bench.building import build_net, build_task
from lra_bench.config.compose import compose
from lra_bench.core.settings import OptimConfig
from lra_bench.data.feed import TaskFeed
from lra_bench.training.history import logged_metrics
from lra_bench.training.module import LitSequenceModel
from lra_bench.training.objectives import make_objective
from lra_bench.training.ranks import Peers, Rank, StartedProcesses, join

WORDS = ("task=tests.toy_tasks:Toy", "model=lru", "backbone.d_model=4", "backbone.depth=1", "train.accelerator=cpu")
BATCH_SIZES = (1, 3, 5, 64)


def evaluate(peers: Peers, batch_size: int) -> dict[str, float]:
    """Test metrics of an untrained network; raises unless every example was seen."""
    config = compose([*WORDS, f"train.eval_batch_size={batch_size}"]).config
    task = build_task(config)
    net = build_net(config, task.spec)
    sizes = {"val": task.size("val"), "test": task.size("test")}
    module = LitSequenceModel(net, make_objective(task.spec), [], OptimConfig(), 1, sizes)
    trainer = Trainer(
        accelerator="cpu",
        devices=peers.count,
        strategy=DDPStrategy() if peers.count > 1 else "auto",
        plugins=[StartedProcesses(peers)],
        logger=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
    )
    trainer.test(module, datamodule=TaskFeed(task), verbose=False)
    found = {f"test/{name}": value for name, value in logged_metrics(trainer, "test").items()}
    trainer.validate(module, datamodule=TaskFeed(task), verbose=False)
    return found | {f"val/{name}": value for name, value in logged_metrics(trainer, "val").items()}


if __name__ == "__main__":
    rank, ranks, out = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    words = [*WORDS, f"train.devices={ranks}", "train.global_batch_size=6"]
    together = join(Rank(rank, ranks, out / f"{ranks}.rendezvous"), compose(words).config.train)
    results = {size: evaluate(together, size) for size in BATCH_SIZES}
    (out / f"{ranks}-{rank}.json").write_text(json.dumps(results))
    together.leave()
