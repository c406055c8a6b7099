"""The exact engine beside its peers: `python -m tests.benchmarks.exact [--networks DIR ...] [--only NAME ...] [--no-pgmpy]`.

Every peer that is installed (`pip install -c constraints.txt -e ".[bench]"`) runs in the same process, on one thread, on the same tables: peers are
built through their APIs from the doubles that we read. Figures are medians over evidence vectors that are drawn from the network itself: values
for a fifth of its nodes. Networks: those of `examples/data`, those in the folders given, and those that pgmpy ships.
"""

from __future__ import annotations

import argparse
import gzip
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy
import torch

import ppl
from ppl.formats.network import network_of

warnings.simplefilter("ignore")
torch.set_num_threads(1)

VECTORS = 7
#: Networks whose elimination, given the evidence, takes more cells than this are left out of the tables.
CELLS = 2**24


def clock(function, *arguments):
    """What a call gives, and its milliseconds."""
    began = time.perf_counter()
    result = function(*arguments)
    return result, 1e3 * (time.perf_counter() - began)


def median(function, items) -> float:
    """Median milliseconds over items, the first of them twice: once to warm up."""
    function(items[0])
    return statistics.median(clock(function, item)[1] for item in items)


def geometric(ratios) -> float:
    """The geometric mean."""
    ratios = [r for r in ratios if r is not None]
    return float(numpy.exp(numpy.mean(numpy.log(ratios)))) if ratios else float("nan")


def table(title: str, head: list[str], rows: list[list], foot: list | None = None) -> None:
    """Print a table."""
    print(f"\n{title}\n")
    cells = [head, *[[_said(c) for c in row] for row in rows]]
    if foot:
        cells.append([_said(c) for c in foot])
    widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
    for i, row in enumerate(cells):
        print(
            "  "
            + "  ".join(
                c.ljust(w) if k == 0 else c.rjust(w)
                for k, (c, w) in enumerate(zip(row, widths, strict=True))
            )
        )
        if i == 0:
            print("  " + "  ".join("-" * w for w in widths))


def _said(cell) -> str:
    if cell is None:
        return "–"
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)


class Case:
    """A network, evidence vectors, and what peers need."""

    def __init__(self, path: Path):
        self.path = path
        self.name = path.name.partition(".")[0]
        self.model = ppl.read(path)
        self.network = network_of(self.model)
        names = list(self.network.labels)
        rng = numpy.random.default_rng(0)
        self.seen = sorted(
            rng.choice(names, max(1, len(names) // 5), replace=False).tolist(), key=names.index
        )
        draws = self.model.simulate(VECTORS, seed=1)
        self.evidence = [{n: int(draws[n][k]) for n in self.seen} for k in range(VECTORS)]
        self.hidden = [n for n in names if n not in self.seen]
        self.plan = ppl.compile(
            self.model,
            given=self.seen,
            of=self.hidden,
            budget=ppl.Budget(cells=2**31, memory=2**36),
        )
        cost = self.plan.routes[0].judged[0].cost
        self.cells, self.width = cost["table cells"], cost["width"]

    def fresh(self) -> ppl.Model:
        """The model, as just read: nothing about it remembered."""
        return self.network.model()

    # -- peers -------------------------------------------------------------------------------------

    def agrum(self):
        """pyAgrum's network, doubles and all."""
        import pyagrum

        bn = pyagrum.BayesNet(self.name)
        ids = {}
        for k, (n, labels) in enumerate(self.network.labels.items()):
            ids[n] = bn.add(pyagrum.LabelizedVariable(f"v{k}", "", len(labels)))
        for n, family in self.network.families.items():
            for p in family.parents:
                bn.addArc(ids[p], ids[n])
        for n, family in self.network.families.items():
            cpt = bn.cpt(ids[n])
            order = [f"v{ids[p]}" for p in family.parents] + [f"v{ids[n]}"]
            axes = [order.index(v) for v in reversed(cpt.names)]
            cpt.fillWith(family.table.transpose(axes).ravel().tolist())
        return bn, ids

    def pgmpy(self):
        from pgmpy.factors.discrete import TabularCPD
        from pgmpy.models import DiscreteBayesianNetwork

        net = DiscreteBayesianNetwork(
            [(p, n) for n, f in self.network.families.items() for p in f.parents]
        )
        net.add_nodes_from(self.network.labels)
        for n, f in self.network.families.items():
            own = f.table.shape[-1]
            values = numpy.moveaxis(f.table, -1, 0).reshape((own, -1))
            net.add_cpds(
                TabularCPD(
                    n, own, values, list(f.parents) or None, list(f.table.shape[:-1]) or None
                )
            )
        return net


def have(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None


def ours_all(plan, hidden):
    def run(evidence):
        posterior = plan.posterior(evidence)
        return [posterior[n].probs for n in hidden]

    return run


def agrum_all(engine, ids, hidden):
    def run(evidence):
        for n, v in evidence.items():
            engine.chgEvidence(ids[n], v)
        engine.makeInference()
        return [engine.posterior(ids[n]).toarray() for n in hidden]

    return run


def agrum_engine(bn, ids, evidence):
    import pyagrum

    engine = pyagrum.LazyPropagation(bn)
    engine.setNumberOfThreads(1)
    engine.setEvidence({ids[n]: v for n, v in evidence.items()})
    return engine


def marginals(cases: list[Case], pgmpy: bool) -> None:
    rows, prepared, colds, against = [], [], [], []
    for case in cases:
        mine = median(ours_all(case.plan, case.hidden), case.evidence)
        fresh = [case.fresh() for _ in case.evidence]

        def cold(k, case=case, fresh=fresh):
            posterior = ppl.infer(fresh[k], case.evidence[k], of=case.hidden)
            return [posterior[n].probs for n in case.hidden]

        cold(0)
        mine_cold = statistics.median(clock(cold, k)[1] for k in range(1, VECTORS))
        row = [
            case.name,
            len(case.network.labels),
            case.width,
            f"2^{numpy.log2(case.cells):.1f}",
            mine,
        ]
        theirs = theirs_cold = error = None
        if have("pyagrum"):
            bn, ids = case.agrum()
            engine = agrum_engine(bn, ids, case.evidence[0])
            theirs = median(agrum_all(engine, ids, case.hidden), case.evidence)
            one = agrum_all(engine, ids, case.hidden)(case.evidence[-1])
            two = ours_all(case.plan, case.hidden)(case.evidence[-1])
            error = max(
                float(numpy.abs(a - b.numpy()).max()) for a, b in zip(one, two, strict=True)
            )

            def cold_agrum(evidence, bn=bn, ids=ids, case=case):
                engine = agrum_engine(bn, ids, evidence)
                engine.makeInference()
                return [engine.posterior(ids[n]).toarray() for n in case.hidden]

            theirs_cold = statistics.median(clock(cold_agrum, e)[1] for e in case.evidence[1:])
            prepared.append(theirs / mine)
            colds.append(theirs_cold / mine_cold)
        row += [
            theirs,
            theirs and theirs / mine,
            mine_cold,
            theirs_cold,
            theirs_cold and theirs_cold / mine_cold,
            error,
        ]
        slow = None
        if pgmpy and have("pgmpy") and case.cells < 2**14 and len(case.hidden) < 80:
            from pgmpy.inference import VariableElimination

            ve = VariableElimination(case.pgmpy())

            def query(evidence, ve=ve, case=case):
                return [ve.query([n], evidence=evidence, show_progress=False) for n in case.hidden]

            slow = statistics.median(clock(query, e)[1] for e in case.evidence[:2])
            against.append(slow / mine)
        row += [slow, slow and slow / mine]
        rows.append(row)
        print(f"  … {case.name}", flush=True)
    table(
        "All marginals given a fifth of the nodes (ms): prepared, and cold from a model in memory; pyAgrum LazyPropagation, pgmpy VariableElimination",
        [
            "network",
            "nodes",
            "width",
            "cells",
            "ours",
            "pyAgrum",
            "ratio",
            "cold",
            "pyAgrum",
            "ratio",
            "max error",
            "pgmpy",
            "ratio",
        ],
        rows,
        [
            "geometric mean",
            "",
            "",
            "",
            "",
            "",
            geometric(prepared),
            "",
            "",
            geometric(colds),
            "",
            "",
            geometric(against),
        ],
    )
    if prepared:
        print(f"\n  smallest prepared ratio to pyAgrum: {min(prepared):.2f}")


def evidence_alone(cases: list[Case]) -> None:
    rows, ratios = [], []
    for case in cases:
        mine = median(case.plan.log_evidence, case.evidence)
        theirs = error = None
        if have("pyagrum"):
            bn, ids = case.agrum()
            engine = agrum_engine(bn, ids, case.evidence[0])

            def probability(evidence, engine=engine, ids=ids):
                for n, v in evidence.items():
                    engine.chgEvidence(ids[n], v)
                return engine.evidenceProbability()

            theirs = median(probability, case.evidence)
            error = abs(
                numpy.log(probability(case.evidence[1])) - case.plan.log_evidence(case.evidence[1])
            )
            ratios.append(theirs / mine)
        rows.append([case.name, mine, theirs, theirs and theirs / mine, error])
    table(
        "log P(e), prepared (ms)",
        ["network", "ours", "pyAgrum", "ratio", "error"],
        rows,
        ["geometric mean", "", "", geometric(ratios), ""],
    )


def most_probable(cases: list[Case]) -> None:
    rows, ratios = [], []
    for case in cases:
        if case.width > 20:
            continue
        mine = median(case.plan.most_probable, case.evidence)
        theirs = error = None
        if have("pytoulbar2"):
            import pytoulbar2

            names = list(case.network.labels)
            times = []
            for evidence in case.evidence:
                problem = pytoulbar2.CFN(ubinit=1e6, resolution=6, vac=0)
                for n in names:
                    labels = case.network.labels[n]
                    problem.AddVariable(f"v{names.index(n)}", range(len(labels)))
                with numpy.errstate(divide="ignore"):
                    for n, f in case.network.families.items():
                        scope = [*f.parents, n]
                        cost = numpy.minimum(-numpy.log(f.table), 1e6)
                        at = tuple(slice(None) if v not in evidence else evidence[v] for v in scope)
                        left = [f"v{names.index(v)}" for v in scope if v not in evidence]
                        if left:
                            problem.AddFunction(left, cost[at].ravel().tolist())
                found, ms = clock(problem.Solve)
                times.append(ms)
            theirs = statistics.median(times)
            best = case.plan.most_probable(case.evidence[-1])
            values = {**case.evidence[-1], **{n: int(best[n]) for n in best}}
            joint = float(case.model.log_joint(values))
            other = (
                {**{n: found[0][k] for k, n in enumerate(names)}, **case.evidence[-1]}
                if found
                else None
            )
            error = None if other is None else float(case.model.log_joint(other)) - joint
            ratios.append(theirs / mine)
        rows.append([case.name, case.width, mine, theirs, theirs and theirs / mine, error])
    table(
        "Most probable explanation (ms): ours prepared; toulbar2's Solve alone, its problem built beforehand",
        ["network", "width", "ours", "toulbar2", "ratio", "their log-joint less ours"],
        rows,
        ["geometric mean", "", "", "", geometric(ratios), ""],
    )


def batch(case: Case, count: int = 1000) -> None:
    draws = case.model.simulate(count, seed=3)
    many = {n: draws[n].numpy() for n in case.seen}

    def ours():
        found = case.plan.posteriors(many)
        return [found[n].probs for n in case.hidden]

    ours()
    mine = statistics.median(clock(ours)[1] for _ in range(7))
    theirs = None
    if have("pyagrum"):
        bn, ids = case.agrum()
        run = agrum_all(agrum_engine(bn, ids, case.evidence[0]), ids, case.hidden)
        vectors = [{n: int(many[n][k]) for n in case.seen} for k in range(100)]
        theirs = count / 100 * clock(lambda: [run(v) for v in vectors])[1]
    table(
        f"{count} evidence vectors on {case.name}, all marginals (ms); pyAgrum's from 100 of them",
        ["", "ours", "pyAgrum", "ratio"],
        [["", mine, theirs, theirs and theirs / mine]],
    )


def learning(case: Case, rows: int = 5000, share: float = 0.1) -> None:
    draws = case.model.simulate(rows, seed=5)
    hole = numpy.random.default_rng(0).random((len(case.network.labels), rows)) < share
    labels = case.network.labels
    data = {
        n: [None if h else labels[n][v] for v, h in zip(draws[n].tolist(), hole[k], strict=True)]
        for k, n in enumerate(labels)
    }
    ppl.fit(case.model, {n: v[:50] for n, v in data.items()})
    (fitted, mine) = clock(lambda: ppl.fit(case.model, data))
    lines = [["ours", mine / 1e3, len(fitted.history), fitted.log_likelihood, None]]
    if have("pyagrum"):
        import pyagrum

        bn, ids = case.agrum()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rows.csv"
            names = list(labels)
            lines_out = [",".join(f"v{ids[n]}" for n in names)]
            for r in range(rows):
                lines_out.append(
                    ",".join(
                        "?" if data[n][r] is None else str(labels[n].index(data[n][r]))
                        for n in names
                    )
                )
            file.write_text("\n".join(lines_out) + "\n")
            learner = pyagrum.BNLearner(str(file), bn, ["?"])
            learner.setNumberOfThreads(1)
            learner.useSmoothingPrior(0.01)
            learner.useEM(1e-4)
            learnt, theirs = clock(lambda: learner.learnParameters(bn.dag()))
        tables = {}
        for n, family in case.network.families.items():
            cpt = learnt.cpt(f"v{ids[n]}")
            have_order = list(reversed(cpt.names))
            want = [f"v{ids[p]}" for p in family.parents] + [f"v{ids[n]}"]
            tables[n] = cpt.toarray().transpose([have_order.index(v) for v in want])
        from ppl.formats.network import Family, Network

        other = Network(
            "other",
            dict(labels),
            {
                n: Family(f.parents, tables[n] / tables[n].sum(-1, keepdims=True), "")
                for n, f in case.network.families.items()
            },
        )
        their_value = log_likelihood(other.model(), data)
        our_value = log_likelihood(fitted.model, data)
        lines = [
            ["ours", mine / 1e3, len(fitted.history), our_value, theirs / mine],
            [
                "pyAgrum (useEM(1e-4), smoothing 0.01)",
                theirs / 1e3,
                learner.EMnbrIterations(),
                their_value,
                None,
            ],
        ]
    table(
        f"EM on {case.name}, {rows} rows, {share:.0%} of cells missing",
        ["", "seconds", "steps", "log-likelihood of the data", "ratio"],
        lines,
    )


def log_likelihood(model: ppl.Model, data) -> float:
    """log p(data), all rows at once."""
    names = list(data)
    extra = ppl.Model("with a witness", model.graph)
    from ppl.distributions import Bernoulli

    extra.latent(lambda: Bernoulli(0.5), name="witness")
    plan = ppl.compile(extra, given=names, of=["witness"])
    return float(plan.posteriors(data).log_evidence.sum())


def reading(cases: list[Case]) -> None:
    rows, ratios = [], []
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{case.name}.bif"
            raw = case.path.read_bytes()
            if case.path.suffix == ".gz":
                raw = gzip.decompress(raw)
            path.write_bytes(raw)
            mine = statistics.median(clock(ppl.read, path)[1] for _ in range(3))
            theirs = agrum = None
            if have("pgmpy") and len(raw) < 300_000:
                from pgmpy.readwrite import BIFReader

                try:
                    theirs = clock(lambda path=path: BIFReader(str(path)).get_model())[1]
                    ratios.append(theirs / mine)
                except Exception as error:
                    print(f"  pgmpy cannot read {case.name}: {str(error)[:80]}")
            if have("pyagrum"):
                import pyagrum

                try:
                    agrum = clock(lambda path=path: pyagrum.loadBN(str(path)))[1]
                except Exception:
                    agrum = None
        rows.append([case.name, len(raw) // 1024, mine, theirs, theirs and theirs / mine, agrum])
    table(
        "Reading BIF (ms); pyAgrum's reader is C++ and in single precision; – cannot read the labels",
        ["network", "kB", "ours", "pgmpy", "ratio", "pyAgrum"],
        rows,
        ["geometric mean", "", "", "", geometric(ratios), ""],
    )


def paths(folders: list[Path]) -> list[Path]:
    found = {}
    folders = [*folders, Path(__file__).resolve().parents[1] / "data"]
    if have("pgmpy"):
        import pgmpy

        folders.append(Path(pgmpy.__file__).parent / "utils" / "example_models")
    for folder in folders:
        for path in sorted(folder.glob("*.bif*")):
            found.setdefault(path.name.partition(".")[0], path)
    return sorted(found.values(), key=lambda p: p.stat().st_size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=Path, nargs="*", default=[])
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--no-pgmpy", action="store_true")
    parser.add_argument(
        "--parts", nargs="*", default=["marginals", "evidence", "mpe", "batch", "em", "reading"]
    )
    options = parser.parse_args()
    cases = []
    for path in paths(options.networks):
        if options.only and path.name.partition(".")[0] not in options.only:
            continue
        case = Case(path)
        if case.cells <= CELLS:
            cases.append(case)
        else:
            print(f"  left out: {case.name}, 2^{numpy.log2(case.cells):.1f} cells")
    alarm = next((c for c in cases if c.name == "alarm"), None)
    if "marginals" in options.parts:
        marginals(cases, not options.no_pgmpy)
    if "evidence" in options.parts:
        evidence_alone(cases)
    if "mpe" in options.parts:
        most_probable(cases)
    if "batch" in options.parts and alarm:
        batch(alarm)
    if "reading" in options.parts:
        reading(cases)
    if "em" in options.parts and alarm:
        learning(alarm)


if __name__ == "__main__":
    main()
