"""Where and in which precision the networks run, and the way to there and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ros2_derain.networks.layers import fuse_normalisation

from .scene import EngineError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Runtime:
    """A device and the number format of the networks on it."""

    device: torch.device
    dtype: torch.dtype

    @property
    def precision(self) -> str:
        """``float32``, ``bfloat16`` or ``float16``."""
        return str(self.dtype).removeprefix("torch.")

    def place(self, module: nn.Module) -> nn.Module:
        """The module on the device, in the precision, channels last, for inference (in place)."""
        module = fuse_normalisation(module.eval()).to(self.device, self.dtype)
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return module.requires_grad_(False)

    def tensor(self, image: np.ndarray) -> Tensor:
        """H x W x 3 uint8 -> 1 x 3 x H x W float32 in 0..1 on the device (channels last)."""
        if not image.flags.writeable:
            image = image.copy()
        flat = torch.from_numpy(image).to(self.device, non_blocking=True)
        return flat.permute(2, 0, 1)[None].float().mul_(1 / 255)

    def synchronize(self) -> None:
        """Wait until the device has done all it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def choose(device: str = "auto", precision: str = "auto") -> Runtime:
    """The runtime for settings ``device`` and ``precision``.

    ``auto`` takes CUDA where there is one (bfloat16 from compute capability 8, else
    float16), else the CPU with bfloat16 where the processor computes in it, else float32.

    Raises:
        EngineError: no such device, or the precision is not for it.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise EngineError(f"device {device!r} is not one of auto, cpu, cuda, cuda:N") from error
    if chosen.type not in ("cpu", "cuda"):
        raise EngineError(f"device {device!r} is not one of auto, cpu, cuda, cuda:N")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise EngineError(
            f"device {device!r} is not here: {torch.cuda.device_count()} CUDA devices are visible"
        )
    if precision == "auto":
        precision = _best_precision(chosen)
    if chosen.type == "cpu" and precision == "float16":
        raise EngineError("precision float16 is for CUDA devices; on the CPU use bfloat16 or float32")
    return Runtime(chosen, _DTYPES[precision])


def _best_precision(device: torch.device) -> str:
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device)[0] >= 8 else "float16"
    return "bfloat16" if _cpu_computes_bfloat16() else "float32"


def _cpu_computes_bfloat16() -> bool:
    """AMX or AVX512-BF16: elsewhere bfloat16 is emulated and slower than float32."""
    try:
        with open("/proc/cpuinfo") as file:
            flags = next((line for line in file if line.startswith("flags")), "").split()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def to_image(tensor: Tensor) -> np.ndarray:
    """1 x 3 x H x W (0..1, clamped here) -> H x W x 3 uint8, contiguous."""
    scaled = tensor[0].detach().clamp(0, 1).mul(255).add_(0.5).to(torch.uint8)
    return scaled.permute(1, 2, 0).contiguous().cpu().numpy()
