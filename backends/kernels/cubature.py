"""Adaptive quadrature of a density in one or two dimensions, with an estimate of its error, and the density's own inverse cdf.

Cells are boxes; in each the density is known at the Kronrod points of every axis, whose embedded Gauss rule gives the error. The worst cells are
halved across the axis that errs most. Coordinates are whitened at the mode first, so that a narrow ridge lies along an axis.

Reference:
    QUADPACK (Piessens et al., 1983), the 15-point Gauss-Kronrod rule
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import product

import numpy
from numpy import ndarray
from numpy.polynomial import legendre

__all__ = ["Cubature", "Improper", "integrate"]

#: Kronrod's 15 points on [-1, 1] and their weights; every second one is a Gauss point.
_HALF = numpy.array(
    [
        0.991455371120812639206854697526329,
        0.949107912342758524526189684047851,
        0.864864423359769072789712788640926,
        0.741531185599394439863864773280788,
        0.586087235467691130294144691693332,
        0.405845151377397166906606412076961,
        0.207784955007898467600689403773245,
    ]
)
_KRONROD = numpy.array(
    [
        0.022935322010529224963732008058970,
        0.063092092629978553290700663189204,
        0.104790010322250183839876322541518,
        0.140653259715525918745189590510238,
        0.169004726639267902826583426598550,
        0.190350578064785409913256402421014,
        0.204432940075298892414161999234649,
    ]
)
_GAUSS = numpy.array(
    [
        0.129484966168869693270611432679082,
        0.279705391489276667901467771423780,
        0.381830050505118944950369775488975,
    ]
)
POINTS = numpy.concatenate([-_HALF, [0.0], _HALF[::-1]])
KRONROD = numpy.concatenate([_KRONROD, [0.209482141084727828012999174891714], _KRONROD[::-1]])
GAUSS = numpy.zeros(15)
GAUSS[1::2] = numpy.concatenate([_GAUSS, [0.417959183673469387755102040816327], _GAUSS[::-1]])
#: From values at the points to Legendre coefficients.
_TO_LEGENDRE = numpy.linalg.inv(legendre.legvander(POINTS, 14))

#: The points of the rule in every part of a cell, and their weights.
PARTS = 6
_MIDDLES = (2 * numpy.arange(PARTS) + 1) / PARTS - 1
FINE = (_MIDDLES[:, None] + POINTS / PARTS).reshape(-1)
FINE_WEIGHTS = numpy.tile(KRONROD / PARTS, PARTS)

#: A density this many nats below the mode is nothing.
NOTHING = 45.0
#: A mode is near enough where another step gains less than this, in nats.
NEAR = 0.01
#: Steps in which a mode is looked for.
CLIMBS = 40
#: Halvings of an interval in which a quantile is looked for: none of its digits is left after so many.
HALVINGS = 52
#: How far a side is pushed out, in doublings, before the density is called improper.
DOUBLINGS = 40

Density = Callable[[ndarray], ndarray]


class Improper(Exception):
    """The density does not fall off in some direction."""


class Cubature:
    """A density that was integrated.

    Args:
        centre, root: From whitened coordinates z to the density's own: centre + root z.
        low, high: The corners of the cells, `(cells, dimensions)`.
        values: The density relative to `top` at every cell's points, `(cells, 15)` or `(cells, 15, 15)`.
        top: The log of the density's largest value.
        error: The relative error of the integral and of the first two moments, at most.
        evaluations: Of the density.
        met: Whether the error is as small as was asked for.
    """

    def __init__(self, centre, root, low, high, values, top, error, evaluations, met):
        self.centre, self.root, self.low, self.high = centre, root, low, high
        self.values, self.top, self.error = values, top, error
        self.evaluations, self.met = evaluations, met
        self.dimensions = low.shape[1]
        self._half = (high - low) / 2
        weights = _weights(self.dimensions, KRONROD)
        self._mass = values.reshape((len(values), -1)) * weights * self._half.prod(axis=1)[:, None]
        self.total = float(self._mass.sum())

    @property
    def log_integral(self) -> float:
        """log of the integral."""
        return float(
            numpy.log(self.total) + self.top + numpy.log(numpy.abs(numpy.diag(self.root))).sum()
        )

    def points(self) -> tuple[ndarray, ndarray]:
        """Points of the density that matter, `(n, dimensions)`, and the share of the whole that each stands for."""
        share = (self._mass / self.total).reshape(-1)
        z = _grid(self.low, self.high).reshape((-1, self.dimensions))
        kept = share > 1e-18
        return self.centre + z[kept] @ self.root.T, share[kept] / share[kept].sum()

    def cdf(self, axis: int, value: ndarray) -> ndarray:
        """The share of the density where one of its own coordinates is at most `value`, `(n,)`."""
        value = numpy.atleast_1d(numpy.asarray(value, dtype=float))
        middle = (self.low + self.high) / 2
        if axis == 0:
            at = (value[:, None] - self.centre[0]) / self.root[0, 0]
            inside = (at - middle[:, 0]) / self._half[:, 0]
            share = (_below(self._lines, inside) * self._half.prod(axis=1)).sum(axis=1)
            upward = self.root[0, 0] > 0
        else:
            # Along the second axis the integral is exact, across it by Kronrod's rule in parts of each cell: where a cell ends it bends.
            first = middle[:, :1] + self._half[:, :1] * FINE  # (cells, 15 · parts)
            at = value[:, None, None] - self.centre[1] - self.root[1, 0] * first
            inside = (at / self.root[1, 1] - middle[:, 1:]) / self._half[:, 1:]
            below = _below(self._columns, inside)
            share = ((below * FINE_WEIGHTS).sum(axis=2) * self._half.prod(axis=1)).sum(axis=1)
            upward = self.root[1, 1] > 0
        share = (share / self.total).clip(0, 1)
        return share if upward else 1 - share

    def quantiles(self, axis: int, shares: ndarray) -> ndarray:
        """The values of one coordinate below which so much of the density lies, `(n,)`."""
        corners = numpy.array(
            list(product(*zip(self.low.min(axis=0), self.high.max(axis=0), strict=True)))
        )
        ends = (self.centre + corners @ self.root.T)[:, axis]
        # What lies beyond the cells is next to nothing: the shares 0 and 1 are where they end.
        low, high = numpy.full(len(shares), ends.min()), numpy.full(len(shares), ends.max())
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            below = self.cdf(axis, middle) < shares
            low, high = numpy.where(below, middle, low), numpy.where(below, high, middle)
        return (low + high) / 2

    @cached_property
    def _lines(self) -> ndarray:
        """Along the first axis, the other summed out: integrals of Legendre series, `(cells, 16)`."""
        values = self.values if self.dimensions == 1 else (self.values * KRONROD).sum(axis=2)
        return legendre.legint(_TO_LEGENDRE @ values.T, lbnd=-1).T

    @cached_property
    def _columns(self) -> ndarray:
        """Along the second axis at every fine point of the first, `(cells, 15 · parts, 16)`."""
        fine = legendre.legvander(FINE, 14) @ _TO_LEGENDRE
        series = numpy.einsum("lk,fp,cpk->lcf", _TO_LEGENDRE, fine, self.values, optimize=True)
        return numpy.moveaxis(legendre.legint(series, lbnd=-1, axis=0), 0, -1)

    def inverse(self, uniform: ndarray) -> ndarray:
        """The density's draws from uniform numbers, `(n, 1 + dimensions)`: the first chooses the cell."""
        masses = self._mass.sum(axis=1).clip(min=0)
        edges = numpy.concatenate([[0.0], masses.cumsum()])
        cell = (numpy.searchsorted(edges, uniform[:, 0] * edges[-1], side="right") - 1).clip(
            0, len(masses) - 1
        )
        inside = (uniform[:, 0] * edges[-1] - edges[cell]) / masses[cell]
        middle, half = (self.low + self.high)[cell] / 2, self._half[cell]
        if self.dimensions == 1:
            # The position within the cell is as uniform as a number of its own, and keeps strata strata.
            z = _inverse(self.values[cell] @ _TO_LEGENDRE.T, inside.clip(0, 1))
            return self.centre + (middle + half * z[:, None]) @ self.root.T
        across = (self.values * KRONROD).sum(axis=2)
        first = _inverse(across[cell] @ _TO_LEGENDRE.T, uniform[:, 1])
        basis = legendre.legvander(first, 14) @ _TO_LEGENDRE
        row = numpy.einsum("nk,nkl->nl", basis, self.values[cell]).clip(min=0)
        second = _inverse(row @ _TO_LEGENDRE.T, uniform[:, 2])
        z = middle + half * numpy.stack([first, second], axis=1)
        return self.centre + z @ self.root.T


def integrate(
    density: Density, starts: ndarray, tolerance: float = 1e-6, most: int = 400_000
) -> Cubature:
    """Integrate exp(density) over the whole space.

    Args:
        density: The log density of points `(n, dimensions)`.
        starts: Points where it may lie, of which at least one has a positive density.
        tolerance: The relative error to reach.
        most: Evaluations after which it stops and says so.

    Raises:
        Improper: If it does not fall off.
    """
    counted = _Counted(density)
    modes = _modes(counted, starts)
    centre, root = modes[0], _whitener(counted, modes[0])
    whitened = lambda z: counted(centre + z @ root.T)  # noqa: E731
    inverse = numpy.linalg.inv(root)
    others = (modes - centre) @ inverse.T
    scattered = (starts - centre) @ inverse.T
    top = counted.top
    near = counted.best(scattered.shape[1], NOTHING)
    cuts = _cuts(whitened, top, others, (near - centre) @ inverse.T, len(centre))
    low = numpy.array(list(product(*(c[:-1] for c in cuts))))
    high = numpy.array(list(product(*(c[1:] for c in cuts))))
    top = counted.top
    values = _evaluate(whitened, low, high, top)
    pushed = 0
    while True:
        estimate, errors, axis = _errors(low, high, values)
        total = estimate[:, 0].sum()
        scale = numpy.abs(estimate).sum(axis=0).clip(min=1e-300)
        relative = (errors / scale).max(axis=1)
        error = float((errors.sum(axis=0) / scale).max())
        done = (error <= tolerance and total > 0) or counted.count > most
        slab = _outside(low, high, values, tolerance) if done and counted.count <= most else None
        if slab is not None:
            # Something leaves the box by this side.
            pushed += 1
            if pushed > 2 * DOUBLINGS:
                raise Improper
            low, high = numpy.concatenate([low, slab[0]]), numpy.concatenate([high, slab[1]])
            values = numpy.concatenate([values, _evaluate(whitened, *slab, top)])
            continue
        if done:
            return Cubature(
                centre, root, low, high, values, top, error, counted.count, error <= tolerance
            )
        # The cells that make up most of what is too much.
        order = numpy.argsort(-relative)
        rest = relative.sum() - relative[order].cumsum()
        worst = order[: int((rest > 0.5 * tolerance).sum()) + 1][:512]
        stay = numpy.ones(len(low), dtype=bool)
        stay[worst] = False
        a, b, ax = low[worst], high[worst], axis[worst]
        middle = (a + b)[numpy.arange(len(ax)), ax] / 2
        left, right = b.copy(), a.copy()
        left[numpy.arange(len(ax)), ax] = right[numpy.arange(len(ax)), ax] = middle
        new_low, new_high = numpy.concatenate([a, right]), numpy.concatenate([left, b])
        new = _evaluate(whitened, new_low, new_high, top)
        if counted.top > top + 1.0:
            # A higher peak came to light.
            shift = numpy.exp(top - counted.top)
            values, new, top = values * shift, new * shift, counted.top
        low = numpy.concatenate([low[stay], new_low])
        high = numpy.concatenate([high[stay], new_high])
        values = numpy.concatenate([values[stay], new])


class _Counted:
    """The density, with how often it was asked and the highest points that it saw."""

    def __init__(self, density: Density):
        self.density, self.count, self.top = density, 0, -numpy.inf
        self._seen: list[tuple[ndarray, ndarray]] = []

    def __call__(self, u: ndarray) -> ndarray:
        self.count += len(u)
        found = self.density(u)
        if len(found):
            self.top = max(self.top, float(found.max()))
        if len(self._seen) < 64:
            self._seen.append((u, found))
        return found

    def best(self, dimensions: int, within: float) -> ndarray:
        """Points seen whose log density is near the top."""
        u = numpy.concatenate([u for u, _ in self._seen])
        lp = numpy.concatenate([lp for _, lp in self._seen])
        return u[lp > self.top - within].reshape((-1, dimensions))


def _modes(density: Density, starts: ndarray) -> ndarray:
    """Local maxima from the best starts, the highest first: each looks around, moves to the best place, and looks closer."""
    lp = density(starts)
    d = starts.shape[1]
    spread = starts.std(axis=0).clip(min=1e-3)
    chosen: list[ndarray] = []
    for i in numpy.argsort(-lp):
        if not numpy.isfinite(lp[i]) or len(chosen) >= 4:
            break
        # Starts that are far from each other: two modes are seldom found from one side.
        if all((numpy.abs(starts[i] - c) / spread).max() > 0.5 for c in chosen):
            chosen.append(starts[i])
    at = numpy.array(chosen)
    best = numpy.full(len(at), -numpy.inf)
    size = numpy.ones(len(at))
    steps = numpy.linspace(-1, 1, 9) if d == 1 else numpy.array([-1.0, -0.4, 0.0, 0.4, 1.0])
    around = numpy.array(list(product(steps, repeat=d)))
    for _ in range(CLIMBS):
        points = at[:, None] + (0.3 * spread) * size[:, None, None] * around
        values = density(points.reshape((-1, d))).reshape((len(at), -1))
        values = numpy.where(numpy.isnan(values), -numpy.inf, values)
        place = values.argmax(axis=1)
        at = points[numpy.arange(len(at)), place]
        gain = values[numpy.arange(len(at)), place] - best
        best = values[numpy.arange(len(at)), place]
        if (gain < NEAR).all():
            break
        size *= numpy.where(numpy.abs(around[place]).max(axis=1) == 1, 1.5, 0.4)
    return at[numpy.argsort(-best)]


def _whitener(density: Density, mode: ndarray) -> ndarray:
    """A lower triangular root of the covariance that the curvature at the mode suggests."""
    d = len(mode)
    scales = numpy.ones(d)
    here = float(density(mode[None])[0])
    eye = numpy.eye(d)
    for _ in range(60):
        # The step at which the density has fallen by about one nat, axis by axis.
        fall = numpy.array(
            [
                here - 0.5 * density(mode + numpy.outer([1, -1], s * e)).sum()
                for s, e in zip(scales, eye, strict=True)
            ]
        )
        wrong = (fall < 0.25) | (fall > 2.0) | ~numpy.isfinite(fall)
        if not wrong.any():
            break
        grow = numpy.where(numpy.isfinite(fall) & (fall < 0.25), 2.0, 0.5)
        scales = numpy.where(wrong, scales * grow, scales).clip(1e-12, 1e12)
    if d == 1:
        return numpy.array([[scales[0]]])
    e0, e1 = scales[0] * eye[0], scales[1] * eye[1]
    both = density(mode + numpy.array([e0 + e1, e0 - e1, -e0 + e1, -e0 - e1]))
    cross = -(both[0] - both[1] - both[2] + both[3]) / 4
    hessian = numpy.array([[2 * fall[0], cross], [cross, 2 * fall[1]]])
    try:
        covariance = numpy.linalg.inv(hessian)
        root = numpy.linalg.cholesky(covariance)
    except numpy.linalg.LinAlgError:
        return numpy.diag(scales)
    return scales[:, None] * root


def _cuts(density: Density, top: float, modes: ndarray, near: ndarray, d: int) -> list[ndarray]:
    """Where each axis is cut at first: around every mode, and out to where the density is nothing."""
    low, high = numpy.full(d, -8.0), numpy.full(d, 8.0)
    if len(near):
        low, high = numpy.minimum(low, near.min(axis=0)), numpy.maximum(high, near.max(axis=0))
    for axis, sign in product(range(d), (-1, 1)):
        for doubling in range(DOUBLINGS + 1):
            edge = high[axis] if sign > 0 else low[axis]
            face = numpy.zeros((1 if d == 1 else 33, d))
            if d == 2:
                other = 1 - axis
                face[:, other] = numpy.linspace(low[other], high[other], 33)
            face[:, axis] = edge
            if density(face).max() < top - NOTHING:
                break
            if doubling == DOUBLINGS:
                raise Improper
            edge += sign * max(abs(edge), 8.0)
            (high if sign > 0 else low)[axis] = edge
    cuts = []
    for axis in range(d):
        marks = {float(low[axis]), float(high[axis])}
        for mode in modes[:, axis]:
            for step in (-6.0, -2.0, 2.0, 6.0):
                marks.add(float(mode + step))
        reach = 16.0
        while reach < max(-low[axis], high[axis]):
            marks |= {-reach, reach}
            reach *= 4
        kept = sorted(m for m in marks if low[axis] <= m <= high[axis])
        apart = [kept[0]]
        for mark in kept[1:]:
            if mark - apart[-1] > 0.5:
                apart.append(mark)
        apart[-1] = kept[-1]
        cuts.append(numpy.array(apart))
    return cuts


def _outside(
    low: ndarray, high: ndarray, values: ndarray, tolerance: float
) -> tuple[ndarray, ndarray] | None:
    """Cells beyond a side of the box where the density is still something."""
    d = low.shape[1]
    for axis, side in product(range(d), (0, 1)):
        edge = high[:, axis].max() if side else low[:, axis].min()
        outer = (high[:, axis] if side else low[:, axis]) == edge
        rim = values[outer].take(14 * side, axis=1 + axis).reshape((int(outer.sum()), -1))
        if rim.max() < 1e-6 * tolerance:
            continue
        a, b = low[outer].copy(), high[outer].copy()
        step = max(abs(edge), 8.0)
        a[:, axis], b[:, axis] = (edge, edge + step) if side else (edge - step, edge)
        return a, b
    return None


def _grid(low: ndarray, high: ndarray) -> ndarray:
    """Every cell's points, `(cells, 15 or 225, dimensions)`."""
    d = low.shape[1]
    unit = numpy.array(list(product(*[POINTS] * d)))
    middle, half = (low + high) / 2, (high - low) / 2
    return middle[:, None] + half[:, None] * unit[None]


def _weights(d: int, rule: ndarray) -> ndarray:
    return rule if d == 1 else numpy.outer(rule, rule).reshape(-1)


def _evaluate(density: Density, low: ndarray, high: ndarray, top: float) -> ndarray:
    points = _grid(low, high)
    flat = density(points.reshape((-1, low.shape[1])))
    return numpy.exp(flat - top).reshape((len(low), *[15] * low.shape[1]))


def _errors(low: ndarray, high: ndarray, values: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """By cell: the integrals of 1, z and z², the errors of these, and the axis that errs most."""
    d = low.shape[1]
    volume = ((high - low) / 2).prod(axis=1)[:, None]
    z = _grid(low, high)
    flat = values.reshape((len(values), -1))
    moments = numpy.concatenate([numpy.ones((*flat.shape, 1)), z, z**2], axis=2) * flat[..., None]
    kronrod = numpy.einsum("cpm,p->cm", moments, _weights(d, KRONROD)) * volume
    if d == 1:
        gauss = numpy.einsum("cpm,p->cm", moments, GAUSS) * volume
        return kronrod, _shrunk(kronrod, gauss), numpy.zeros(len(low), dtype=int)
    mixed = [numpy.outer(GAUSS, KRONROD).reshape(-1), numpy.outer(KRONROD, GAUSS).reshape(-1)]
    across = [_shrunk(kronrod, numpy.einsum("cpm,p->cm", moments, w) * volume) for w in mixed]
    axis = (across[1].max(axis=1) > across[0].max(axis=1)).astype(int)
    return kronrod, across[0] + across[1], axis


def _shrunk(kronrod: ndarray, gauss: ndarray) -> ndarray:
    """The error of the better rule from the difference of the two, as QUADPACK has it."""
    gap = numpy.abs(kronrod - gauss)
    scale = numpy.abs(kronrod) + gap + 1e-300
    return scale * numpy.minimum(1.0, (200 * gap / scale) ** 1.5)


def _below(integrals: ndarray, inside: ndarray) -> ndarray:
    """Integrals of Legendre series from -1 to places in [-1, 1], beyond which they are none or all."""
    basis = legendre.legvander(inside.clip(-1, 1), integrals.shape[-1] - 1)
    return (basis * integrals).sum(axis=-1)


def _inverse(coefficients: ndarray, uniform: ndarray) -> ndarray:
    """Where the cdf of a Legendre series on [-1, 1] reaches a number, row by row."""
    whole = legendre.legint(coefficients.T, lbnd=-1).T  # (n, 16)
    total = whole.sum(axis=1)
    goal = uniform * total
    low, high = -numpy.ones(len(goal)), numpy.ones(len(goal))
    for _ in range(50):
        middle = (low + high) / 2
        below = numpy.einsum("nk,nk->n", legendre.legvander(middle, 15), whole) < goal
        low, high = numpy.where(below, middle, low), numpy.where(below, high, middle)
    return (low + high) / 2
