"""The boards and graphics cards that a model is planned for, with the figures of their vendor.

All are NVIDIA's: memory and bandwidth as its data sheets state them (Jetson AGX Orin, Orin NX and Thor module data
sheets; GeForce RTX 4090 and 5090 specifications; H200 data sheet), in the highest power mode. `float16_flops` are those
of dense matrices, summed in float32; where a sheet states the rate of sparse matrices or of another format alone, it is
taken from that, as `computes` says.
"""

from __future__ import annotations

from dataclasses import dataclass

GIB = 2**30
UNIFIED_SHARE = 16
"""A Jetson's firmware and kernel keep one part in so many of the memory. An allowance: no board was at hand."""
SYSTEM_BYTES = 2_000_000_000
"""What a Jetson's system takes besides, without a desktop and with a station's other services."""
DRIVER_BYTES = 500_000_000
"""What the driver keeps of a graphics card's own memory."""
JETSON = {"sm87": "Jetson Orin", "sm110": "Jetson Thor"}
"""By their target: TensorRT for RTX builds for neither, JetPack's own TensorRT does, on the board."""


@dataclass(frozen=True)
class Board:
    """One device by its name on the command line.

    Attributes:
        target: its compute capability, as `lineside engine --target` takes it.
        memory_bytes: all of it; with `unified` memory the system has its share of that.
        bandwidth_bytes_s: of its memory.
        float16_flops: operations a second, an addition and a multiplication being two.
        computes: where `float16_flops` come from.
    """

    name: str
    title: str
    target: str
    memory_bytes: int
    unified: bool
    bandwidth_bytes_s: float
    float16_flops: float
    computes: str

    @property
    def system_bytes(self) -> int:
        """What is not there for a model."""
        return self.memory_bytes // UNIFIED_SHARE + SYSTEM_BYTES if self.unified else DRIVER_BYTES


BOARDS = {
    board.name: board
    for board in (
        Board(
            "orin-64", "Jetson AGX Orin 64 GB", "sm87", 64 * GIB, True, 204.8e9, 42.5e12,
            "a quarter of the GPU's 170 sparse INT8 TOPS",
        ),
        Board(
            "orin-nx-16", "Jetson Orin NX 16 GB", "sm87", 16 * GIB, True, 102.4e9, 15e12,
            "a quarter of the GPU's 60 sparse INT8 TOPS, without its Super mode",
        ),
        Board(
            "thor", "Jetson AGX Thor 128 GB", "sm110", 128 * GIB, True, 273e9, 258e12,
            "an eighth of 2,070 sparse FP4 TFLOPS",
        ),
        Board(
            "rtx4090", "GeForce RTX 4090", "sm89", 24 * GIB, False, 1008e9, 165e12,
            "165.2 TFLOPS with float32 sums",
        ),
        Board(
            "rtx5090", "GeForce RTX 5090", "sm120", 32 * GIB, False, 1792e9, 209e12,
            "209.5 TFLOPS with float32 sums",
        ),
        Board(
            "h200", "H200", "sm90", 141_000_000_000, False, 4800e9, 989e12,
            "half of 1,979 sparse TFLOPS",
        ),
    )
}  # fmt: skip
CPU = "cpu"
"""Of this machine, whose figures are measured."""
DEVICES = (*BOARDS, CPU)
