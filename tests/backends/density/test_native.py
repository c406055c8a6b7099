"""What is written out as C, or run again by torch, gives what the function gives."""

import numpy
import pytest
import torch

from backends.density.native import Native, compiler
from backends.density.recorded import Recorded, agree

needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no C compiler here")

POSITIVE = [
    torch.exp,
    torch.log,
    torch.log1p,
    torch.expm1,
    torch.sqrt,
    torch.rsqrt,
    torch.sin,
    torch.cos,
    torch.tan,
    torch.tanh,
    torch.sinh,
    torch.cosh,
    torch.atan,
    torch.erf,
    torch.erfc,
    torch.abs,
    torch.floor,
    torch.ceil,
    torch.reciprocal,
    torch.square,
    torch.sigmoid,
    torch.lgamma,
    torch.digamma,
    torch.sign,
    torch.nn.functional.softplus,
    torch.nn.functional.logsigmoid,
    torch.nn.functional.relu,
    lambda x: x**3,
    lambda x: x**2.5,
    lambda x: 2 - x / 3,
    lambda x: torch.where(x > 1, x, -x),
    lambda x: x.clamp(0.5, 1.5),
    lambda x: torch.maximum(x, torch.tensor(1.0)),
    lambda x: torch.minimum(x, 1 / x),
    lambda x: torch.xlogy(x, x),
    lambda x: torch.lerp(x, x * x, 0.3),
    lambda x: x.sum(1, keepdim=True) * x,
    lambda x: x.mean(1, keepdim=True) + x,
    lambda x: x.prod(1, keepdim=True) + x,
    lambda x: torch.logsumexp(x, 1, keepdim=True) - x,
    lambda x: torch.softmax(x, 1),
    lambda x: torch.log_softmax(x, 1),
    lambda x: x.cumsum(1),
    lambda x: x.flip(1),
    lambda x: x @ torch.arange(16.0, dtype=torch.float64).reshape(4, 4),
    lambda x: (x[:, None, :] * x[:, :, None]).amax(2),
    lambda x: x.amin(1, keepdim=True) + x,
    lambda x: x[:, [3, 1, 1, 0]],
    lambda x: torch.cat([x[:, 2:], x[:, :2] * 2], dim=1),
    lambda x: torch.stack([x[:, 0], x[:, 1], x[:, 3], x[:, 2]], dim=1),
    lambda x: x.gather(1, torch.tensor([[1, 0, 3, 3]]).expand(len(x), 4)),
    lambda x: torch.nn.functional.pad(x[:, 1:], (1, 0), value=2.0),
    lambda x: torch.atan2(x, x.flip(1)),
]


def value_and_slope(function):
    """A function's sum over each row, and its gradient."""

    def both(u):
        with torch.enable_grad():
            v = u.detach().requires_grad_(True)
            total = function(v).sum(dim=1)
            (slope,) = torch.autograd.grad(total.sum(), v, allow_unused=True)
        return total.detach(), torch.zeros_like(u) if slope is None else slope

    return both


@needs_compiler
@pytest.mark.parametrize("k", range(len(POSITIVE)))
def test_machine_code_is_the_function(k):
    """Value and gradient of each operation, for batches of other lengths than the one that was recorded."""
    function = value_and_slope(POSITIVE[k])
    generator = torch.Generator().manual_seed(k)
    example = torch.rand((6, 4), generator=generator, dtype=torch.float64) * 2 + 0.1
    native = Native.of(function, (example,))
    assert native is not None
    for rows in (1, 5, 33):
        u = torch.rand((rows, 4), generator=generator, dtype=torch.float64) * 3 + 0.05
        assert agree(native(u), function(u))


@pytest.mark.parametrize("k", range(len(POSITIVE)))
def test_recorded_operations_are_the_function(k):
    """The same by torch, for batches of the length that was recorded."""
    function = value_and_slope(POSITIVE[k])
    generator = torch.Generator().manual_seed(k)
    example = torch.rand((6, 4), generator=generator, dtype=torch.float64) * 2 + 0.1
    recorded = Recorded.of(function, (example,))
    assert recorded is not None
    u = torch.rand((6, 4), generator=generator, dtype=torch.float64) * 3 + 0.05
    assert agree(recorded(u), function(u))


def test_a_function_that_looks_at_numbers_is_not_recorded():
    """What it does for one row is not what it does for another."""

    def looks(u):
        return (u * 2 if bool((u > 0).all()) else u).sum(dim=1)

    example = (torch.ones(3, 2, dtype=torch.float64),)
    assert Recorded.of(looks, example) is None
    assert Native.of(looks, example) is None


@needs_compiler
def test_a_running_product_is_written_out():
    """Its derivative is not, and is left to torch."""
    u = torch.rand((3, 4), dtype=torch.float64)
    native = Native.of(lambda x: x.cumprod(1), (u,))
    assert native is not None
    assert agree(native(u), u.cumprod(1))


@needs_compiler
def test_special_numbers_come_through():
    """Infinities and what is no number, as constants and as results."""

    def special(u):
        inside = torch.where(u > 0, u.log(), torch.tensor(-torch.inf, dtype=torch.float64))
        return inside.sum(dim=1), torch.where(u > 0, u, torch.nan).sum(dim=1)

    example = torch.tensor([[1.0, 2.0], [-1.0, 2.0]], dtype=torch.float64)
    native = Native.of(special, (example,))
    assert native is not None
    one, other = native(example), special(example)
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1].isnan(), other[1].isnan())


@needs_compiler
def test_without_a_compiler_torch_does_it(monkeypatch):
    """The variable that turns machine code off."""
    compiler.cache_clear()
    monkeypatch.setenv("GALTON_NATIVE", "0")
    try:
        assert compiler() is None
        assert Native.of(lambda u: u.sum(dim=1), (torch.ones(2, 2),)) is None
    finally:
        compiler.cache_clear()


@needs_compiler
def test_digamma_and_trigamma_of_all_sizes():
    """The series, held against SciPy."""
    from scipy.special import digamma, polygamma

    u = torch.logspace(-3, 4, 200, dtype=torch.float64)[:, None]
    native = Native.of(value_and_slope(torch.digamma), (u,))
    assert native is not None
    value, slope = (t.numpy() for t in native(u))
    x = u[:, 0].numpy()
    assert numpy.allclose(value, digamma(x), rtol=1e-12, atol=1e-13)
    assert numpy.allclose(slope[:, 0], polygamma(1, x), rtol=1e-12)
