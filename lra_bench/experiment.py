"""One trial, from config to record: build, fit, select on validation, test once. Every ending leaves a record."""

import logging
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DDPStrategy
from torch import distributed

from lra_bench import tracking
from lra_bench.building import build_net, build_task, default_precision
from lra_bench.config.schema import Config
from lra_bench.core.errors import LraBenchError
from lra_bench.core.files import remove_leftovers
from lra_bench.core.record import RunRecord, Status
from lra_bench.data.datamodule import SequenceDataModule
from lra_bench.data.feed import TaskFeed
from lra_bench.environment import peak_memory_mb
from lra_bench.outcome import (
    Outcome,
    device_name,
    identity,
    model_info,
    note_failure,
    note_selection,
    task_info,
    write_record,
)
from lra_bench.training.checkpoints import Checkpointer
from lra_bench.training.guard import Guard, TrialStopped
from lra_bench.training.history import History, logged_metrics, read_history
from lra_bench.training.linear_model import LinearModel
from lra_bench.training.loop import StepLoop
from lra_bench.training.module import LitSequenceModel
from lra_bench.training.objectives import make_objective
from lra_bench.training.optimizers import parameter_groups
from lra_bench.training.progress import StepBar
from lra_bench.training.ranks import Peers, Rank, StartedProcesses, join, lost_contact


def run(
    config: Config,
    folder: Path,
    show_progress: bool = False,
    observers: Sequence[Callback] = (),
    rank: Rank | None = None,
    task: SequenceDataModule | None = None,
) -> RunRecord:
    """Run a trial, or go on with one that was interrupted, and write `record.json` into its folder.

    Args:
        config: the composed config.
        folder: the trial's own; holds checkpoints of an earlier, interrupted run if there was one.
        show_progress: draw a progress bar.
        observers: further callbacks that look on, such as a stopwatch.
        rank: which one this is of the `train.devices` processes that all call this; None for one that is alone.
        task: reads the same kind of batches from elsewhere, for measurements; None for the task of the config.

    Returns:
        The record that was written. A failure of the trial is a status, not an exception. Where another process is
        gone the status is `preempted`, unless that one left a record, which then is returned.
    """
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    outcome = Outcome()
    peers = Peers(rank.index, rank.count) if rank else Peers()
    logger: Logger | None = None
    try:
        peers = join(rank, config.train)
        if peers.leads:
            remove_leftovers(folder / "history.jsonl", folder / "record.json")
            logger = tracking.make_logger(config, identity(config), folder)
        _train_and_test(config, task or build_task(config), folder, outcome, logger, show_progress, observers, peers)
    except (Exception, SystemExit) as error:
        note_failure(outcome, error)
        if peers.count > 1 and lost_contact(error):
            outcome.status, outcome.message = Status.PREEMPTED, f"another process is gone ({outcome.message})"
        elif not isinstance(error, (LraBenchError, torch.OutOfMemoryError, MemoryError)):
            traceback.print_exc()
    finally:
        outcome.peak_memory_mb = peak_memory_mb(on_gpu=outcome.device not in ("cpu", "unknown"))
        if logger is not None:
            outcome.tracking = tracking.where(logger)
        record = write_record(config, folder, outcome, peers.index, peers.count)
        peers.leave()
        if logger is not None:
            tracking.finish(logger, record)
    return record


def record_death(config: Config, folder: Path, status: Status, message: str) -> RunRecord:
    """Write the record of a trial whose process could not do so itself."""
    history = read_history(folder / "history.jsonl")
    outcome = Outcome(status=status, message=message, steps=history[-1].step if history else 0)
    with suppress(Exception):  # a task that cannot even be built is no reason to lose the record
        outcome.task = task_info(build_task(config))
    return write_record(config, folder, outcome)


def _train_and_test(
    config: Config,
    task: SequenceDataModule,
    folder: Path,
    outcome: Outcome,
    logger: Logger | None,
    show_progress: bool,
    observers: Sequence[Callback],
    peers: Peers,
) -> None:
    """Everything that may fail; fills `outcome` as it goes."""
    torch.set_num_threads(config.train.threads or max(1, torch.get_num_threads() // peers.count))
    outcome.task = task_info(task)
    net = build_net(config, task.spec)
    groups = parameter_groups(net, net.mixers, config.optim, allow_absolute=config.track == "recipe")
    for group in groups:
        logging.getLogger(__name__).info("optimizer group %s", group.describe())
    outcome.learning_rates = {group.name: group.lr for group in groups}
    outcome.task = outcome.task.model_copy(update={"fingerprint": task.fingerprint(), "baselines": task.baselines()})
    if not peers.leads:
        torch.manual_seed(_seed_of(peers.index, config.seed))
    model_class = LinearModel if config.optim.name == "least_squares" else LitSequenceModel
    with default_precision(config):
        module = model_class(
            net,
            make_objective(task.spec),
            groups,
            config.optim,
            config.train.max_steps,
            {"val": task.size(task.selects_on), "test": task.size("test")},
            config.train.accumulate,
            config.train.compile,
        )
    guard = Guard(config.train, task.spec, peers, folder / "heartbeat")
    checkpointer = Checkpointer(folder / "checkpoints", task.spec, peers)
    history = History(folder / "history.jsonl", config.train.log_every, peers)
    with _quiet_lightning():
        callbacks: list[Callback] = [guard, history, checkpointer, *observers]
        if show_progress and peers.leads:
            callbacks.append(StepBar(config.train.max_steps, task.spec.metric, config.train.log_every))
        trainer = _trainer(config, folder, callbacks, logger, peers)
        outcome.device = device_name(trainer.strategy.root_device)
        size = config.train.global_batch_size // (config.train.devices * config.train.accumulate)
        outcome.model = model_info(config, net, size, task.spec.seq_len, trainer.strategy.root_device)
        _fit(trainer, module, task, checkpointer, guard, outcome)
        note_selection(outcome, task, checkpointer.best_step, checkpointer.best_metrics)
        if outcome.selection is not None and outcome.status in (Status.OK, Status.CHANCE, Status.TIMEOUT):
            checkpointer.load_best(module)
            trainer.test(module, datamodule=TaskFeed(task), verbose=False)
            outcome.test = logged_metrics(trainer, "test")


def _fit(
    trainer: Trainer,
    module: LitSequenceModel,
    task: SequenceDataModule,
    checkpointer: Checkpointer,
    guard: Guard,
    outcome: Outcome,
) -> None:
    """Train from the last checkpoint, or from the start."""
    checkpoint = checkpointer.last if checkpointer.last.exists() else None
    try:
        trainer.fit(module, datamodule=TaskFeed(task), ckpt_path=checkpoint, weights_only=True)
        outcome.status = Status.OK
    except TrialStopped as stop:
        outcome.status, outcome.message, outcome.failed_step = stop.status, stop.message, stop.failed_step
    finally:
        guard.stop_watching()
        if module.not_compiled and outcome.model is not None:
            backend = f"{outcome.model.backend}; not compiled: {module.not_compiled}"
            outcome.model = outcome.model.model_copy(update={"backend": backend})
        outcome.steps, outcome.seconds = trainer.global_step, guard.elapsed()


def _seed_of(rank: int, seed: int) -> int:
    """Seed of the dropout of a process other than the first, which goes on where initialisation left off."""
    return int(np.random.SeedSequence([seed, rank]).generate_state(1, np.uint64)[0])


def _trainer(config: Config, folder: Path, callbacks: list[Callback], logger: Logger | None, peers: Peers) -> Trainer:
    train = config.train
    trainer = Trainer(
        accelerator=train.accelerator,
        devices=peers.count,
        strategy=DDPStrategy(broadcast_buffers=False) if distributed.is_initialized() else "auto",
        plugins=[StartedProcesses(peers)],
        precision=train.precision,
        max_epochs=-1,
        max_steps=train.max_steps,
        val_check_interval=min(train.val_every, train.max_steps),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        logger=logger or False,
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
    trainer.fit_loop.epoch_loop = StepLoop(trainer, config.optim.grad_clip)
    _leave_signals_to_the_guard(trainer)
    return trainer


def _leave_signals_to_the_guard(trainer: Trainer) -> None:
    """Lightning 2.6 asks the other processes about SIGTERM in the handler, and waits for the device at every step."""
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]


class _quiet_lightning(warnings.catch_warnings):  # noqa: N801 (used as a verb)
    """Silence what Lightning says about choices that this project makes on purpose."""

    def __enter__(self) -> None:
        super().__enter__()
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)  # Lightning 2.6 with torch 2.13
        warnings.filterwarnings(
            "ignore", ".*broadcast_buffers.*", FutureWarning
        )  # torch 2.13; older ones know no other
        warnings.filterwarnings(
            "ignore", ".*called before the ``update``.*"
        )  # a process may have no example of a group
        warnings.filterwarnings("ignore", ".*sync_dist=True.*")  # the metrics have been reduced when they are logged
        warnings.filterwarnings("ignore", ".*Grad strides do not match.*")  # costs a copy of a parameter of that size
        warnings.filterwarnings("ignore", ".*does not have many workers.*")  # batches are made by vectorised code
        warnings.filterwarnings("ignore", ".*GPU available but not used.*")  # tiny tasks ask for the CPU
        warnings.filterwarnings("ignore", ".*`srun` command is available.*")  # processes are started by this project
