"""The generators of many draws: exactly those of `numpy.random.default_rng(seed)`, seeded all at once.

Making a generator costs more than many a simulator. The seeding of NumPy (a hash of the seed, then two steps of PCG64) is plain integer arithmetic; it
is done here for a whole batch, and one generator is set to each state in turn.

References:
    | Developing a seed_seq alternative (O'Neill, 2015), which numpy.random.SeedSequence follows
    | PCG: a family of simple fast space-efficient statistically good algorithms for random number generation (O'Neill, 2014)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy

__all__ = ["generators"]

#: Constants of SeedSequence: initial values and multipliers of its two hashes, and of its mixing.
INIT_A, MULT_A, INIT_B, MULT_B = 0x43B0D7E5, 0x931E8875, 0x8B51F9DD, 0x58F38DED
MIX_LEFT, MIX_RIGHT = 0xCA01F9DD, 0x4973F715
#: The multiplier of PCG64.
MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645
WORD, HUGE = 2**32 - 1, 2**128 - 1
POOL = 4


def generators(seeds: numpy.ndarray) -> Iterator[numpy.random.Generator]:
    """One generator, set for each seed in turn to what `numpy.random.default_rng(seed)` begins with.

    Args:
        seeds: Non-negative, below 2^63, `(n,)`.

    Example:
        >>> rng = next(generators(numpy.array([7])))
        >>> bool(rng.normal() == numpy.random.default_rng(7).normal())
        True
    """
    source = numpy.random.PCG64()
    generator = numpy.random.Generator(source)
    words = _words(seeds)
    for high, low, odd_high, odd_low in words.T.tolist():
        begin = (high << 64) | low
        step = ((((odd_high << 64) | odd_low) << 1) | 1) & HUGE
        # The state is zero; a step adds `step`; the beginning is added; another step.
        state = ((step + begin) * MULTIPLIER + step) & HUGE
        source.state = {
            "bit_generator": "PCG64",
            "state": {"state": state, "inc": step},
            "has_uint32": 0,
            "uinteger": 0,
        }
        yield generator


def _words(seeds: numpy.ndarray) -> numpy.ndarray:
    """`SeedSequence(seed).generate_state(4, uint64)` of each seed, `(4, n)`."""
    wide: Any = seeds.astype(numpy.uint64)
    zero = numpy.zeros(len(seeds), dtype=numpy.uint32)
    entropy = [
        (wide & numpy.uint64(WORD)).astype(numpy.uint32),
        (wide >> numpy.uint64(32)).astype(numpy.uint32),
    ]
    constant = INIT_A

    def hashed(value: Any) -> Any:
        nonlocal constant
        value = value ^ numpy.uint32(constant)
        constant = (constant * MULT_A) & WORD
        value = value * numpy.uint32(constant)
        return value ^ (value >> numpy.uint32(16))

    # A seed below 2^32 is one word long; the second word of such a seed is zero, which is what fills the pool.
    pool = [hashed(entropy[i] if i < len(entropy) else zero) for i in range(POOL)]
    for source in range(POOL):
        for target in range(POOL):
            if source != target:
                mixed = pool[target] * numpy.uint32(MIX_LEFT) - hashed(pool[source]) * numpy.uint32(
                    MIX_RIGHT
                )
                pool[target] = mixed ^ (mixed >> numpy.uint32(16))
    halves, constant = [], INIT_B
    for i in range(8):
        value: Any = pool[i % POOL] ^ numpy.uint32(constant)
        constant = (constant * MULT_B) & WORD
        value = value * numpy.uint32(constant)
        halves.append((value ^ (value >> numpy.uint32(16))).astype(numpy.uint64))
    return numpy.stack([halves[2 * i] | (halves[2 * i + 1] << numpy.uint64(32)) for i in range(4)])
