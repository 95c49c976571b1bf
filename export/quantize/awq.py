"""AWQ: inputs that are large get finer weights, by a factor for each that the norm before them takes back.

Lin et al., 2023 (arXiv 2306.00978). It needs the size of each input alone and no Hessian.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
EXPONENTS = np.linspace(0.0, 1.0, 11, dtype=np.float32)
"""Powers of an input's size that are tried as its factor; 0 leaves the matrix as it is."""
