"""Arithmetic with the same result, to the last bit, on every machine: what a file is coded under must be.

Floating-point sums depend on their order, and so on the processor, the library and the number of threads; `exp` and
`tanh` depend on the library. What is used here instead does not:

- Whole numbers in float64. As long as no partial sum reaches 2**53, every sum of products is exact: in any order, with
  or without fused multiply-adds, in any BLAS. Weights and activations are rounded to multiples of a power of two, and
  limited so far that no sum can get there (`Linear`, `fixed`, `rms_norm`, `shares`).
- One `+ - * / sqrt` of float64 at a time. IEEE 754 says what each rounds to, and numpy does each on its own.
- `rint`, `floor`, `maximum`, `ldexp`, `frexp`: exact by their nature.
"""

import math

import numpy as np

VERSION = 1  # of this arithmetic and of the networks in it: another one gives other probabilities
ACTIVATION, WEIGHT = 16, 18  # binary places kept
EXACT = 2.0**52  # a sum of whole numbers below this is exact, with a bit to spare
ALONE = 2**13  # OpenBLAS leaves a product of this many weights and up to 32 rows to one thread
LOG2_E, LN_2 = 1.4426950408889634, 0.6931471805599453


def fixed(x: np.ndarray, places: int, limit: float = EXACT) -> np.ndarray:
    """Float64 in fixed point: the nearest multiples of 2**-places, as whole numbers from -limit to limit.

    What lies beyond stays at the limit: a photo that drives a network there costs some bits, and decodes all the same.
    """
    x = x * 2.0**places
    np.rint(x, out=x)
    np.maximum(x, -limit, out=x)
    return np.minimum(x, limit, out=x)


class Linear:
    """x W + b with an exact product: no sum of (|activation| at most `limit`) * |weight| reaches 2**53.

    The weights lie in slices of some outputs each, so that a product of few rows is left to one thread by the BLAS:
    for work this small, waking another costs more than it saves, and on busy processors ten times more.
    """

    def __init__(self, weight: np.ndarray, bias: np.ndarray | None = None, *, many: bool = False):
        """weight: (in, out) float; bias: (out,) float. many: for so many rows at once that slices are of no use."""
        whole = fixed(weight.astype(np.float64), WEIGHT)
        self.limit = math.floor(EXACT / max(1.0, np.abs(whole).sum(0).max()))
        inputs, outputs = whole.shape
        most = max(1, ALONE // inputs)
        side = outputs if many else math.gcd(outputs, 1 << (most.bit_length() - 1))
        self.slices = np.ascontiguousarray(whole.reshape(inputs, -1, side).swapaxes(0, 1))  # (slices, in, side)
        self.bias = None if bias is None else bias.astype(np.float64)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(..., in) float64 -> (..., out) float64."""
        return self.product(fixed(x, ACTIVATION, self.limit))

    def product(self, whole: np.ndarray) -> np.ndarray:
        """The same for activations that are in fixed point already, and within the limit."""
        rows = whole.reshape(-1, whole.shape[-1])
        parts, _, side = self.slices.shape
        y = np.empty((len(rows), parts, side))
        np.matmul(rows, self.slices, out=y.swapaxes(0, 1))
        y = y.reshape(*whole.shape[:-1], parts * side)
        y *= 2.0 ** -(ACTIVATION + WEIGHT)
        if self.bias is not None:
            y += self.bias
        return y


def exp(x: np.ndarray) -> np.ndarray:
    """e**x for float64, to 1e-10 of it; x counts as -700 below and as 700 above, far from what overflows."""
    x = np.minimum(np.maximum(x, -700.0), 700.0)
    twos = np.rint(x * LOG2_E)
    x -= twos * LN_2  # at most ln(2) / 2 from 0
    x *= 1 / 8
    y = x * (1 / 120)  # Taylor's series to the fifth power, of an eighth of x: what is left out is below 1e-11
    for factor in (1 / 24, 1 / 6, 1 / 2, 1.0):
        y += factor
        y *= x
    y += 1.0
    for _ in range(3):
        y *= y
    return np.ldexp(y, twos.astype(np.int32))


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e**-x) for float64, to 1e-10."""
    return 1.0 / (1.0 + exp(-x))


def tanh(x: np.ndarray) -> np.ndarray:
    """The hyperbolic tangent of float64, to an absolute 1e-10."""
    return 1.0 - 2.0 / (1.0 + exp(2.0 * x))


def silu(x: np.ndarray) -> np.ndarray:
    """x sigmoid(x) for float64."""
    return x * sigmoid(x)


def rms_norm(x: np.ndarray, gain: np.ndarray, epsilon: float) -> np.ndarray:
    """(..., D) float64 over its root mean square, times (D,) gains (Zhang and Sennrich, 2019); D below 4096.

    The squares are of x over a power of two above all of them, so that in fixed point they sum up exactly.
    """
    _, exponent = np.frexp(np.abs(x).max(-1, keepdims=True))
    small = np.ldexp(x, -exponent)  # below 1
    squares = fixed(small * small, 40).sum(-1, keepdims=True)
    mean = np.ldexp(squares, 2 * exponent - 40) / x.shape[-1]
    return x / np.sqrt(mean + epsilon) * gain


def shares(scores: np.ndarray, places: int) -> np.ndarray:
    """(..., N) float64 scores -> e**score over the largest, in fixed point: a softmax but for the division.

    Whole numbers from 0 to 2**places, which sum up exactly while N is below 2**(52 - places). -inf gets 0.
    """
    return fixed(exp(scores - scores.max(-1, keepdims=True)), places)


def weights(scores: np.ndarray, total: int) -> np.ndarray:
    """(..., V) float64 scores -> float32 whole numbers from 1, in proportion to the softmax, at most `total` together.

    total: at most 2**24, up to where float32 holds every whole number; V below it, and below 2**14.
    """
    parts = shares(scores, 38)
    parts *= (total - scores.shape[-1]) / parts.sum(-1, keepdims=True)
    # Rounding up a little can't lift the sum of the floors over the whole number that the parts sum up to.
    return (np.floor(parts) + 1).astype(np.float32)
