"""Two passes over a junction tree: the first sums to the log-evidence, the second gives every marginal.

What to compute is laid out once, as a list of array operations on buffers of fixed size; conditioning runs the list. The last axis is the batch of
observations. The first run takes the numbers as they are: with factors of at most one, whatever underflows is below 1e-300, which is nothing
beside an evidence above `SAFE`. Where the evidence is smaller the run is repeated with every message scaled.

References:
    | Bayesian updating in causal probabilistic networks by local computations (Jensen, Lauritzen and Olesen, 1990)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import prod

import numpy
from numpy import ndarray

from .tree import Group, Operand, Tree

__all__ = ["Propagation"]

#: An evidence below this is computed again with scaled messages.
SAFE = 1e-200
#: Stands for zero where a message divides; what it divides is zero too.
TINY = 1e-300
#: The largest matrix that sums a clique to all its outputs at once, in entries.
MATRIX = 2**13

#: In a clique of more cells than this the order of its products matters.
LARGE = 2**10

Step = Callable[[], object]


class Propagation:
    """The arithmetic of a tree for batches of one length.

    Args:
        tree: The groups of cliques.
        fixed: For each source its table `(1 or factors, *shape)`, or `None` where every batch has its own.
        wanted: Sets of variables whose joint marginals are to be found; each lies in one clique.
        batch: The number of observations in a run.
        scaled: Whether messages are scaled.
        learning: Whether fixed tables may change between runs, and every clique's belief is wanted.
        buffers: Sources that somebody else allocates, and under -1 the array that they are slices of.
    """

    def __init__(
        self,
        tree: Tree,
        fixed: Sequence[ndarray | None],
        wanted: Sequence[tuple[int, ...]] = (),
        batch: int = 1,
        scaled: bool = False,
        buffers: Mapping[int, ndarray] | None = None,
        learning: bool = False,
    ):
        self.tree, self.batch, self.scaled, self._learning = tree, batch, scaled, learning
        buffers = buffers or {}
        self.buffer = buffers.get(-1, numpy.empty((0, batch)))
        self.sources = [
            table[..., None]
            if table is not None
            else buffers[i]
            if i in buffers
            else numpy.empty((len(s.scopes), *s.shape, batch))
            for i, (s, table) in enumerate(zip(tree.sources, fixed, strict=True))
        ]
        self.logs = numpy.zeros(batch)
        self._fixed = [table is not None for table in fixed]
        total = sum(len(g.scopes) * prod(g.shape[: g.separator]) for g in tree.groups)
        self._flat = numpy.ones((total, batch))
        self._safe = numpy.ones((total, batch))
        self.joint: list[ndarray] = []  # by group, (cliques, *shape, batch)
        self.message: list[ndarray] = []  # by group, (cliques, *separator, batch)
        self._divisor: list[ndarray] = []
        self.belief: list[ndarray] = []
        self.log_scale = numpy.zeros(batch)
        self._up: list[Step] = []
        self._down: list[Step] = []
        self._scales: list[ndarray] = []
        offset = 0
        for group in tree.groups:
            shape = (len(group.scopes), *group.shape[: group.separator], batch)
            size = prod(shape[:-1])
            self.message.append(self._flat[offset : offset + size].reshape(shape))
            self._divisor.append(self._safe[offset : offset + size].reshape(shape))
            offset += size
            self._lay_up(group)
        # The messages of roots are numbers; their product is the evidence.
        lengths = [len(g.scopes) * prod(g.shape[: g.separator]) for g in tree.groups]
        ends = numpy.cumsum(lengths)
        self._roots = numpy.array(
            [
                k
                for g, e, n in zip(tree.groups, ends, lengths, strict=True)
                if g.separator == 0
                for k in range(e - n, e)
            ],
            dtype=int,
        )
        self.evidence = numpy.ones(batch)
        self._marginals: dict[tuple[int, ...], ndarray] = {}
        wanted = list(dict.fromkeys(wanted))
        self._lay_down(wanted)
        #: All answers, so that they can be collected in one go.
        self._wanted = [self._marginals[v] for v in wanted]
        sizes = numpy.array([len(found) for found in self._wanted], dtype=int)
        self._starts = (
            numpy.concatenate([[0], sizes.cumsum()[:-1]]).astype(int) if wanted else sizes
        )
        self._owner = numpy.repeat(numpy.arange(len(wanted)), sizes)

    # -- upwards ---------------------------------------------------------------------------------

    def _operand(self, group: Group, operand: Operand) -> tuple[ndarray | None, Callable | None]:
        """An operand aligned with its group's axes: as a view that stays valid, or as a function that gathers it."""
        source = self.message[operand.source] if operand.message else self.sources[operand.source]
        order = sorted(range(len(operand.axes)), key=operand.axes.__getitem__)
        turned = source.transpose(0, *(1 + i for i in order), source.ndim - 1)
        # An axis of length one for every variable of the clique that the operand has not.
        missing = tuple(slice(None) if a in operand.axes else None for a in range(len(group.shape)))
        aligned = turned[(slice(None), *missing)]
        index = operand.index
        power = index.shape[1]
        if len(source) == 1:
            # One table that all the factors share, or one clique's message.
            if power == 1:
                return aligned, None
            return None, lambda: self._product(aligned[numpy.zeros((1, power), dtype=int)])
        if power == 1:
            flat = index[:, 0]
            step = int(flat[1] - flat[0]) if len(flat) > 1 else 1
            if step > 0 and (numpy.diff(flat) == step).all():
                return aligned[flat[0] : flat[-1] + 1 : step], None
            return None, lambda: aligned[flat]
        return None, lambda: self._product(aligned[index])

    def _product(self, many: ndarray) -> ndarray:
        """The product over axis 1, pairwise, so that scaled numbers stay in range."""
        if not self.scaled:
            return numpy.multiply.reduce(many, axis=1)
        while many.shape[1] > 1:
            half = many.shape[1] // 2
            pairs = many[:, :half] * many[:, half : 2 * half]
            top = pairs.reshape((*pairs.shape[:2], -1, pairs.shape[-1])).max(axis=2)
            safe = numpy.where(top > 0, top, 1.0)
            self.log_scale += numpy.log(safe).sum(axis=(0, 1))
            pairs /= safe.reshape((*pairs.shape[:2], *[1] * (pairs.ndim - 3), pairs.shape[-1]))
            many = numpy.concatenate([pairs, many[:, 2 * half :]], axis=1)
        return many[:, 0]

    def _lay_up(self, group: Group) -> None:
        count, batch = len(group.scopes), self.batch
        joint = numpy.empty((count, *group.shape, batch))
        self.joint.append(joint)
        views: list[ndarray] = []
        gathers: list[Callable] = []
        still: ndarray | None = None
        for operand in group.operands:
            view, gather = self._operand(group, operand)
            if view is None:
                gathers.append(gather)  # type: ignore[arg-type]
            elif not operand.message and self._fixed[operand.source] and not self._learning:
                still = view if still is None else still * view
            else:
                views.append(view)
        if still is not None:
            views.insert(0, still)
        if joint.size > LARGE:
            views = self._paired(views)
        if len(views) >= 2:
            self._up.append(_multiply(views[0], views[1], joint))
            rest = views[2:]
        elif views:
            self._up.append(_copy(views[0], joint))
            rest = []
        else:
            self._up.append(_fill(joint))
            rest = []
        for view in rest:
            self._up.append(_multiply(joint, view, joint))
        for gather in gathers:
            self._up.append(_gathered(gather, joint))
        rows = count * prod(group.shape[: group.separator])
        self._reduce(
            group,
            joint.reshape((rows, -1, batch)),
            self.message[group.number].reshape((rows, batch)),
        )
        if self.scaled:
            self._up.append(_scale(self.message[group.number], joint, self))

    def _paired(self, views: list[ndarray]) -> list[ndarray]:
        """Small operands of a large clique multiplied with one another first, so that few passes go over the whole clique."""
        views = list(views)
        while len(views) > 2:
            sizes = {
                (i, j): prod(numpy.broadcast_shapes(views[i].shape, views[j].shape))
                for i in range(len(views))
                for j in range(i)
            }
            i, j = min(sizes, key=sizes.__getitem__)
            a, b = views[i], views[j]
            out = numpy.empty(numpy.broadcast_shapes(a.shape, b.shape))
            self._up.append(_multiply(a, b, out))
            views = [v for k, v in enumerate(views) if k not in (i, j)] + [out]
        return views

    def _reduce(self, group: Group, joint: ndarray, out: ndarray) -> None:
        if group.kind:
            self._up.append(lambda: numpy.maximum.reduce(joint, axis=1, out=out))
        elif self.batch == 1:
            flat, ones, target = joint[..., 0], numpy.ones(joint.shape[1]), out[:, 0]
            self._up.append(lambda: numpy.dot(flat, ones, out=target))
        else:
            self._up.append(lambda: numpy.add.reduce(joint, axis=1, out=out))

    # -- downwards -------------------------------------------------------------------------------

    def _lay_down(self, wanted: Sequence[tuple[int, ...]]) -> None:
        tree = self.tree
        homes: dict[int, list[tuple[int, ...]]] = {}
        for v in wanted:
            homes.setdefault(tree.shown_in(v)[0], []).append(v)
        #: By group, sums of its belief by the axes that are left, `(cliques, cells, batch)`.
        self._output: dict[int, dict[tuple[int, ...], ndarray]] = {}
        needed = self._needed(homes)
        for group in reversed(tree.groups):
            if group.number not in needed:
                self.belief.append(self.joint[group.number])
                continue
            joint = self.joint[group.number]
            belief = joint
            if group.separator:
                belief = numpy.empty_like(joint)
                self._down.append(self._turn(group, joint, belief))
            self.belief.append(belief)
            self._lay_outputs(group, belief, homes.get(group.number, []), needed)
        self.belief.reverse()

    def _needed(self, homes) -> set[int]:
        """The groups with a wanted variable, and those above them."""
        needed: set[int] = set()
        if self._learning:
            return {group.number for group in self.tree.groups}
        for group in self.tree.groups:
            if group.number in homes or group.number in needed:
                needed.add(group.number)
                needed.update(p[0] for p in group.parents if p is not None)
        return needed

    def _turn(self, group: Group, joint: ndarray, belief: ndarray) -> Step:
        """Belief = joint * separator's belief / message."""
        divisor = self._divisor[group.number]
        ratio = numpy.empty_like(divisor)
        tail = [1] * (len(group.shape) - group.separator)
        spread = ratio.reshape((*ratio.shape[:-1], *tail, ratio.shape[-1]))
        # Cliques of one group may hang on different axes of their parents.
        above: dict[tuple, list[int]] = {}
        for m, (number, at) in enumerate(group.parents):  # type: ignore[misc]
            clique = self.tree.groups[number].scopes[at]
            axes = tuple([clique.index(v) for v in group.scopes[m][: group.separator]])
            above.setdefault((number, axes), []).append(m)
        pieces = [
            (self._output[number][axes], members, [group.parents[m][1] for m in members])  # type: ignore[index]
            for (number, axes), members in above.items()
        ]
        if len(pieces) == 1 and len(pieces[0][1]) == 1:
            found, _, at = pieces[0]
            seen = found[at[0] : at[0] + 1].reshape(divisor.shape)

            def single() -> None:
                numpy.divide(seen, divisor, out=ratio)
                numpy.multiply(joint, spread, out=belief)

            return single

        def several() -> None:
            for found, members, at in pieces:
                ratio[members] = found[at].reshape((len(at), *divisor.shape[1:]))
            numpy.divide(ratio, divisor, out=ratio)
            numpy.multiply(joint, spread, out=belief)

        return several

    def _lay_outputs(
        self, group: Group, belief: ndarray, wanted: list[tuple[int, ...]], needed: set[int]
    ) -> None:
        """Sums of a belief: the separators of its children, and the wanted marginals."""
        count, batch = len(group.scopes), self.batch
        targets: dict[tuple[int, ...], ndarray] = {}
        spans = [o.axes for o in group.operands if o.message and o.source in needed]
        places: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
        for v in wanted:
            scope = group.scopes[self.tree.shown_in(v)[1]]
            places.setdefault(tuple([scope.index(u) for u in v]), []).append(v)
        axes = list(dict.fromkeys([*spans, *places]))
        if not axes:
            return
        sizes = [prod(group.shape[a] for a in spec) for spec in axes]
        if sum(sizes) * group.cells <= MATRIX:
            matrix = numpy.concatenate([summing(group.shape, spec) for spec in axes])
            out = numpy.empty((count, len(matrix), batch))
            flat = belief.reshape((count, group.cells, batch))
            if count == 1:
                a, b = (flat[0, :, 0], out[0, :, 0]) if batch == 1 else (flat[0], out[0])
                self._down.append(lambda: numpy.dot(matrix, a, out=b))
            elif batch == 1:
                turned = numpy.ascontiguousarray(matrix.T)
                self._down.append(lambda: numpy.dot(flat[..., 0], turned, out=out[..., 0]))
            else:
                self._down.append(lambda: numpy.matmul(matrix, flat, out=out))
            start = 0
            for spec, size in zip(axes, sizes, strict=True):
                targets[spec] = out[:, start : start + size]
                start += size
        else:
            for spec in axes:
                gone = tuple(1 + a for a in range(len(group.shape)) if a not in spec)
                kept = [group.shape[a] for a in spec]
                out = numpy.empty((count, *kept, batch))
                self._down.append(_sum(belief, gone, spec, out))
                targets[spec] = out.reshape((count, -1, batch))
        self._output[group.number] = targets
        for spec, variables in places.items():
            for v in variables:
                self._marginals[v] = targets[spec][self.tree.shown_in(v)[1]]

    # -- running ---------------------------------------------------------------------------------

    def run(self, down: bool = True) -> None:
        """Both passes over what the sources hold; `evidence` times `exp(log_scale)` is the sum of everything."""
        self.log_scale[:] = 0.0
        for step in self._up:
            step()
        self.evidence = self._flat.take(self._roots, axis=0).prod(axis=0)
        if down and self._down:
            numpy.maximum(self._flat, TINY, out=self._safe)
            for step in self._down:
                step()

    def marginal(self, variables: tuple[int, ...]) -> ndarray:
        """p(variables | evidence), `(cells, batch)`, of the last run."""
        found = self._marginals[variables]
        total = found.sum(axis=0)
        return found / numpy.where(total > 0, total, 1.0)

    def marginals(self) -> ndarray:
        """Every wanted table of the last run, one after the other, `(cells, batch)`."""
        flat = numpy.concatenate(self._wanted)
        total = numpy.add.reduceat(flat, self._starts, axis=0)
        numpy.maximum(total, TINY, out=total)
        flat /= total.take(self._owner, axis=0)
        return flat


@lru_cache(maxsize=4096)
def summing(shape: tuple[int, ...], axes: tuple[int, ...]) -> ndarray:
    """The 0-1 matrix that sums a flattened table to some of its axes, in this order."""
    at = numpy.indices(shape).reshape((len(shape), -1))
    sizes = [shape[a] for a in axes]
    row = numpy.zeros(prod(shape), dtype=int)
    for a, size in zip(axes, sizes, strict=True):
        row = row * size + at[a]
    matrix = numpy.zeros((prod(sizes), prod(shape)))
    matrix[row, numpy.arange(prod(shape))] = 1.0
    return matrix


def _multiply(a: ndarray, b: ndarray, out: ndarray) -> Step:
    return lambda: numpy.multiply(a, b, out=out)


def _copy(a: ndarray, out: ndarray) -> Step:
    return lambda: numpy.copyto(out, a)


def _fill(out: ndarray) -> Step:
    return lambda: out.fill(1.0)


def _gathered(gather: Callable, out: ndarray) -> Step:
    return lambda: numpy.multiply(out, gather(), out=out)


def _sum(belief: ndarray, gone: tuple[int, ...], axes: tuple[int, ...], out: ndarray) -> Step:
    """Sum axes of a belief away, into an array whose axes are in another order."""
    order = sorted(range(len(axes)), key=axes.__getitem__)
    turned = out.transpose(0, *(1 + i for i in order), out.ndim - 1)
    return lambda: numpy.add.reduce(belief, axis=gone, out=turned)


def _scale(message: ndarray, joint: ndarray, owner: Propagation) -> Step:
    """Divide each clique and its message by the message's largest entry, and remember the logarithm."""

    def over(array: ndarray, top: ndarray) -> None:
        spread = top.reshape((len(top), *[1] * (array.ndim - 2), top.shape[-1]))
        numpy.divide(array, spread, out=array)

    def step() -> None:
        top = message.reshape((len(message), -1, message.shape[-1])).max(axis=1)
        top = numpy.where(top > 0, top, 1.0)
        over(message, top)
        over(joint, top)
        owner.log_scale += numpy.log(top).sum(axis=0)

    return step
