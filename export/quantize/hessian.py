"""What a matrix is multiplied with, as far as its rounding must know: the second moments of its inputs.

The squared error of what a rounded matrix gives is `tr((W - Q) H (W - Q)^T)` with the Hessian `H = X^T X`, `(K, K)`.
A Hessian that would be too large is kept by parts: runs of columns, of which each knows its own second moments and
nothing of its neighbours'. A matrix of 32,768 columns has four parts of 268 MB instead of one of 4.3 GB.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
PART_COLUMNS = 8192
"""The most columns of a part."""
DAMPING = 0.01
"""Of the mean of the diagonal, added to it: a direction that the sample does not show may still matter (GPTQ's own)."""


@dataclass(frozen=True)
class Feedback:
    """How the error of a column is made up for by the columns behind it: the Hessian as `U D U^T`.

    Attributes:
        columns: `(P,)`: those of the matrix that this part is about, in the order in which they are rounded.
        unit: U, `(P, P)`, in that order: upper triangular with ones on its diagonal.
    """

    columns: npt.NDArray[np.int64]
    unit: Float32


def parts(columns: int, block: int) -> list[slice]:
    """Runs of at most `PART_COLUMNS`, as even as whole blocks allow."""
    count = -(-columns // PART_COLUMNS)
    width = -(-columns // (count * block)) * block
    return [slice(start, min(start + width, columns)) for start in range(0, columns, width)]


def moments(x: Float32) -> Float32:
    """The diagonal of the Hessian of inputs `(T, K)`, damped: `(K,)`."""
    return _damped(np.square(x).sum(axis=0, dtype=np.float64)).astype(np.float32)


def feedback(x: Float32, block: int) -> list[Feedback]:
    """Of inputs `(T, K)`, a part at a time. The columns with the largest inputs come first: all others can make up for
    their errors.
    """
    return [_factored(x, columns) for columns in parts(x.shape[1], block)]


def _factored(x: Float32, columns: slice) -> Feedback:
    order = columns.start + np.argsort(-np.square(x[:, columns]).sum(axis=0), kind="stable")
    ordered = x[:, order]
    hessian = (ordered.T @ ordered).astype(np.float64)
    np.fill_diagonal(hessian, _damped(np.diagonal(hessian)))
    # numpy factors into L L^T; turned round on both sides that is R R^T with an upper R.
    upper = np.linalg.cholesky(hessian[::-1, ::-1])[::-1, ::-1]
    return Feedback(order, (upper / np.diagonal(upper)).astype(np.float32))


def _damped(diagonal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    mean = float(diagonal.mean()) or 1.0
    return np.where(diagonal > 0, diagonal, mean) + DAMPING * mean
