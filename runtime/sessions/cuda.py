"""Sessions on ONNX Runtime's CUDA kernels: float16 activations, INT4 weights, every cache in the GPU's memory.

The graphs are the bundle's own `*.float16.onnx`, over the same weights as those for the CPU.
"""

from __future__ import annotations

import logging
from typing import Any

import onnxruntime as ort

from lineside.runtime.bundle import Bundle
from lineside.runtime.errors import DeviceUnusable
from lineside.runtime.sessions.cuda_memory import CudaMemory
from lineside.runtime.sessions.ort import OrtDecoder, OrtVision

log = logging.getLogger("lineside.cuda")
PROVIDER = "CUDAExecutionProvider"
PREFILL_TOKENS = 1024
"""Large enough to keep a GPU busy, and small enough that nobody waits long for a chunk."""
CACHE_DTYPES = {"float32": "float16"}
"""What becomes of a bundle's cache type; others are kept."""


def open_cuda(bundle: Bundle, tokens: int) -> tuple[OrtVision | None, OrtDecoder]:
    """The sessions of a bundle on the first GPU, with caches of `tokens` tokens.

    All caches have one length: a CUDA graph belongs to its cache and ONNX Runtime never forgets one, so caches are
    used again rather than made anew.

    Raises DeviceUnusable, DeviceOutOfMemory, BundleDamaged.
    """
    if bundle.manifest.target == "cpu":
        raise DeviceUnusable(f"{bundle.path} was exported for a CPU alone: export it without `--target cpu`")
    for name in ("decoder.float16.onnx", *(["vision.float16.onnx"] if bundle.manifest.image else [])):
        if name not in bundle.manifest.files:
            raise DeviceUnusable(f"{bundle.path} is from a version without graphs for CUDA: export it again")
    if PROVIDER not in ort.get_available_providers():
        raise DeviceUnusable("onnxruntime is the build for CPUs: pip install 'lineside[cuda]' in its place")
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA's libraries from PyPI, where they are installed
    memory, image, vision = CudaMemory(), bundle.manifest.image, None
    if image is not None:  # first, since it is small: what keeps the provider from loading shows here
        providers = [_provider(capture=False)]
        vision = OrtVision(bundle, image, graph="vision.float16.onnx", providers=providers, memory=memory)
    try:
        return vision, _decoder(bundle, memory, tokens, capture=True)
    except DeviceUnusable as error:
        if "graph capture" not in str(error).lower():
            raise
        log.warning("decoding without CUDA graphs: %s", error)
    return vision, _decoder(bundle, memory, tokens, capture=False)


def _decoder(bundle: Bundle, memory: CudaMemory, tokens: int, *, capture: bool) -> OrtDecoder:
    return OrtDecoder(
        bundle,
        graph="decoder.float16.onnx",
        providers=[_provider(capture=capture)],
        memory=memory,
        kv_dtype=CACHE_DTYPES.get(bundle.manifest.kv.dtype, bundle.manifest.kv.dtype),
        prefill_tokens=PREFILL_TOKENS,
        capture=capture,
        cache_lengths=(min(tokens, bundle.manifest.context_length),),
    )


def _provider(*, capture: bool) -> tuple[str, dict[str, Any]]:
    """`kSameAsRequested`: the arena takes what is needed, not the next power of two."""
    options = {"device_id": "0", "arena_extend_strategy": "kSameAsRequested"}
    return PROVIDER, options | ({"enable_cuda_graph": "1"} if capture else {})
