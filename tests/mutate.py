"""Do the tests notice? Changes one operator or number of `models/` and `lra_bench/nn` at a time and runs their tests.

    python -m tests.mutate --sample 60 --jobs 2

A mutant that no test notices survives, and is printed. Each runs in a forked process, from changed source in memory;
no file is touched.
"""

import argparse
import ast
import copy
import importlib.abc
import importlib.machinery
import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = ["test_models.py", "test_ops.py", "test_parity.py", "test_backbone.py", "test_bidirectional.py"]
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


@dataclass(frozen=True)
class Mutant:
    """A file with one node changed."""

    path: Path
    line: int
    change: str
    source: str

    @property
    def module(self) -> str:
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts if parts[0] == "lra_bench" else ("lra_bench", *parts))


def mutants(path: Path) -> Iterator[Mutant]:
    """Every mutant of a file, leaving out docstrings, settings' defaults and checks of settings."""
    tree = ast.parse(path.read_text())
    nodes = list(ast.walk(tree))
    skipped = {id(part) for node in nodes if _is_setting(node) for part in ast.walk(node)}
    for index, node in enumerate(nodes):
        if id(node) in skipped:
            continue
        for change, apply in _changes(node):
            changed = copy.deepcopy(tree)
            apply(list(ast.walk(changed))[index])
            yield Mutant(path, getattr(node, "lineno", 0), change, ast.unparse(changed))


def _is_setting(node: ast.AST) -> bool:
    is_config = isinstance(node, ast.ClassDef) and node.name.endswith("Config")
    return is_config or (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "require")


def _changes(node: ast.AST):
    """(what is changed, function that changes it) for each way to change a node."""
    if isinstance(node, ast.BinOp) and type(node.op) in SWAPS:
        new = SWAPS[type(node.op)]
        yield f"{ast.unparse(node)}: {new.__name__}", lambda n: setattr(n, "op", new())
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        new = SWAPS[type(node.ops[0])]
        yield f"{ast.unparse(node)}: {new.__name__}", lambda n: setattr(n, "ops", [new(), *n.ops[1:]])
    elif isinstance(node, ast.BoolOp):
        new = SWAPS[type(node.op)]
        yield f"{ast.unparse(node)}: {new.__name__}", lambda n: setattr(n, "op", new())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield f"{ast.unparse(node)}: no minus", lambda n: setattr(n, "op", ast.UAdd())
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield f"{node.value} -> {node.value + 1}", lambda n: setattr(n, "value", n.value + 1)


class _InMemory(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from the mutant's source."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name == self.mutant.module else None

    def exec_module(self, module) -> None:
        module.__file__ = str(self.mutant.path)
        exec(compile(self.mutant.source, str(self.mutant.path), "exec"), module.__dict__)  # noqa: S102 (our own source)


def is_noticed(mutant: Mutant, seconds: float = 300.0) -> bool:
    """Run the tests on a mutant in a forked process."""
    child = os.fork()
    if child == 0:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        import signal

        import pytest

        signal.alarm(int(seconds))
        sys.meta_path.insert(0, _InMemory(mutant))
        tests = [str(ROOT / "tests" / name) for name in [*TESTS, *_own_tests(mutant)]]
        os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]) != 0)
    _, status = os.waitpid(child, 0)
    return status != 0


def _own_tests(mutant: Mutant) -> list[str]:
    """Test files that mention the module."""
    name = mutant.module.rpartition(".")[2]
    found = [path.name for path in (ROOT / "tests").glob("test_*.py") if f".{name} import" in path.read_text()]
    return [name for name in found if name not in (*TESTS, "test_sweeps.py", "test_experiment.py")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, help="mutants to try, drawn from all; default all")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--only", default="", help="part of the files' paths")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    paths = sorted([*ROOT.glob("models/*.py"), *ROOT.glob("lra_bench/nn/**/*.py")])
    every = [mutant for path in paths if options.only in str(path) for mutant in mutants(path)]
    chosen = random.Random(options.seed).sample(every, min(options.sample or len(every), len(every)))  # noqa: S311
    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = list(pool.map(is_noticed, chosen))
    survivors = [mutant for mutant, noticed in zip(chosen, verdicts, strict=True) if not noticed]
    for mutant in sorted(survivors, key=lambda m: (m.path, m.line)):
        print(f"survived  {mutant.path.relative_to(ROOT)}:{mutant.line}  {mutant.change}")
    print(f"{len(chosen)} of {len(every)} mutants tried, {len(survivors)} survived")
    return int(bool(survivors))


if __name__ == "__main__":
    sys.exit(main())
