"""Sessions on ONNX Runtime's CUDA kernels: float16 activations, INT4 weights, every cache in the GPU's memory.

The graphs are the bundle's own `*.float16.onnx`, over the same weights as those for the CPU.
"""

from __future__ import annotations

import logging
from typing import Any

import onnxruntime as ort

from runtime.bundle import Bundle
from runtime.cuda_memory import CudaMemory
from runtime.errors import BundleDamaged, DeviceUnusable
from runtime.ort_session import OrtDecoder, OrtVision

log = logging.getLogger("lineside.cuda")
PROVIDER = "CUDAExecutionProvider"
PREFILL_TOKENS = 1024
"""Large enough to keep a GPU busy, and small enough that nobody waits long for a chunk."""
CACHE_DTYPES = {"float32": "float16"}
"""What becomes of a bundle's cache type; others are kept."""


def open_cuda(bundle: Bundle, memory: CudaMemory | None = None) -> tuple[OrtVision | None, OrtDecoder]:
    """The sessions of a bundle on the first GPU.

    Raises DeviceUnusable, DeviceOutOfMemory, BundleDamaged.
    """
    for name in ("decoder.float16.onnx", *(["vision.float16.onnx"] if bundle.manifest.image else [])):
        if name not in bundle.manifest.files:
            raise DeviceUnusable(f"{bundle.path} is from a version without graphs for CUDA: export it again")
    if PROVIDER not in ort.get_available_providers():
        raise DeviceUnusable("onnxruntime is the build for CPUs: pip install 'lineside[cuda]' in its place")
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA's libraries from PyPI, where they are installed
    memory = memory or CudaMemory()
    try:
        decoder = _decoder(bundle, memory, capture=True)
    except BundleDamaged as error:
        if "CUDA Graph" not in str(error):
            raise
        log.warning("decoding without CUDA graphs: %s", error)
        decoder = _decoder(bundle, memory, capture=False)
    image = bundle.manifest.image
    if image is None:
        return None, decoder
    return OrtVision(bundle, image, graph="vision.float16.onnx", providers=[_provider(capture=False)]), decoder


def _decoder(bundle: Bundle, memory: CudaMemory, *, capture: bool) -> OrtDecoder:
    return OrtDecoder(
        bundle,
        graph="decoder.float16.onnx",
        providers=[_provider(capture=capture)],
        memory=memory,
        kv_dtype=CACHE_DTYPES.get(bundle.manifest.kv.dtype, bundle.manifest.kv.dtype),
        prefill_tokens=PREFILL_TOKENS,
        capture=capture,
    )


def _provider(*, capture: bool) -> tuple[str, dict[str, Any]]:
    """`kSameAsRequested`: the arena takes what is needed, not the next power of two."""
    options = {"device_id": "0", "arena_extend_strategy": "kSameAsRequested"}
    return PROVIDER, options | ({"enable_cuda_graph": "1"} if capture else {})
