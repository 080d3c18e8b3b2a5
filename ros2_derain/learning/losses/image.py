"""Losses of a restored image against the clean one, N x 3 x H x W each, RGB in 0..1.

And what every comparison of tensors here begins with: at least float32, and equal shapes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ros2_derain.learning import LearningError

EPSILON = 1e-3
SSIM_SIZE, SSIM_SIGMA = 11, 1.5
LOW_PASS_SIZE, LOW_PASS_SIGMA = 5, 1.1
REGION = 16
BEST_PSNR = 45.0
DARK = 1e-4
"""Product of two RGB norms below which a hue is only noise (a grey of 1.5 / 255, squared)."""


def single(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 where it is that already."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def pair(estimate: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both tensors by :func:`single`.

    Raises:
        LearningError: their shapes differ; broadcasting would compare unrelated pixels.
    """
    if estimate.shape != target.shape:
        raise LearningError(
            f"a loss compares tensors of equal shape, not {tuple(estimate.shape)} with "
            f"{tuple(target.shape)}; crop or resize the target first"
        )
    return single(estimate), single(target)


def charbonnier(estimate: Tensor, target: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Mean of sqrt((a - b)^2 + eps^2), any equal shapes.

    Minimum ``epsilon``, at equality. MSPFN (CVPR 2020), Eq. 1; L_acc of Xu et al. (TIP 2021);
    DANet (IJCAI 2022), Eq. 4. All three weigh it 1; MSPFN and DANet print eps = 1e-3, Xu "small".
    """
    estimate, target = pair(estimate, target)
    return _charbonnier(estimate - target, epsilon)


def _charbonnier(difference: Tensor, epsilon: float = EPSILON) -> Tensor:
    return torch.sqrt(difference.square() + epsilon**2).mean()


def edge(estimate: Tensor, target: Tensor) -> Tensor:
    """Charbonnier between the Laplacians (3x3, centre 8, others -1) of N x C x H x W images.

    Minimum 1e-3, where the images differ by a constant. MSPFN, Eq. 2; printed weight 0.05 (Eq. 3).
    """
    estimate, target = pair(estimate, target)
    return _charbonnier(_laplacian(estimate - target))


def _laplacian(image: Tensor) -> Tensor:
    """9 x (value - mean of its 3x3 neighbourhood) = 8 x centre - neighbours."""
    return 9 * (image - functional.avg_pool2d(_repeat_edges(image, 1), 3, 1))


def _repeat_edges(image: Tensor, width: int) -> Tensor:
    """Pad N x C x H x W by repeating its edges; ``pad(mode="replicate")`` cannot be compiled."""
    rows = [image[..., :1, :]] * width, [image[..., -1:, :]] * width
    image = torch.cat((*rows[0], image, *rows[1]), -2)
    columns = [image[..., :1]] * width, [image[..., -1:]] * width
    return torch.cat((*columns[0], image, *columns[1]), -1)


def ssim(estimate: Tensor, target: Tensor) -> Tensor:
    """1 - SSIM of N x C x H x W images in 0..1, every side >= 11.

    SSIM per channel in an 11x11 Gaussian window of sigma 1.5 that lies wholly inside the image,
    K1 = 0.01, K2 = 0.03 (Wang et al., TIP 2004). 0 at equality, at most 2. The papers minimise
    ``-SSIM``: the same gradient. SAPNet (WACVW 2022), Eq. 7, weight 1; DANet, Eq. 4, weight 0.15.

    Raises:
        LearningError: shapes differ, or a side is shorter than the window.
    """
    estimate, target = pair(estimate, target)
    if min(estimate.shape[-2:]) < SSIM_SIZE:
        raise LearningError(
            f"images of {tuple(estimate.shape)} are too small for SSIM: "
            f"give at least {SSIM_SIZE} x {SSIM_SIZE} pixels"
        )
    a, b = estimate - 0.5, target - 0.5  # around 0, where a variance by difference loses fewest digits
    blurred = _gaussian(torch.cat((a, b, a.square() + b.square(), a * b), 1), SSIM_SIZE, SSIM_SIGMA)
    mean_a, mean_b, squares, product = blurred.chunk(4, 1)
    variances = (squares - mean_a.square() - mean_b.square()).clamp(min=0)
    covariance = product - mean_a * mean_b
    mean_a, mean_b = mean_a + 0.5, mean_b + 0.5
    light = (2 * mean_a * mean_b + 0.01**2) / (mean_a.square() + mean_b.square() + 0.01**2)
    return 1 - (light * (2 * covariance + 0.03**2) / (variances + 0.03**2)).mean()


def _gaussian(image: Tensor, size: int, sigma: float) -> Tensor:
    """N x C x H x W blurred where the size x size window fits: N x C x (H - size + 1) x (W - size + 1).

    Depthwise in channels_last, rows then columns: on a CPU the fastest by far. Never in half precision.
    """
    channels = image.shape[1]
    offset = torch.arange(size, dtype=image.dtype, device=image.device) - (size - 1) / 2
    weight = torch.exp(-offset.square() / (2 * sigma**2))
    weight = (weight / weight.sum()).expand(channels, 1, 1, size).contiguous()
    image = image.contiguous(memory_format=torch.channels_last)
    with torch.autocast(image.device.type, enabled=False):
        rows = functional.conv2d(image, weight, groups=channels)
        return functional.conv2d(rows, weight.transpose(2, 3), groups=channels)


def colour(estimate: Tensor, target: Tensor) -> Tensor:
    """1 - mean cosine between the pixels' RGB vectors, N x 3 x H x W.

    0 where every pixel has the target's hue, whatever its brightness; at most 1 for images in
    0..1. A pixel that is black in either image counts as equal. Xu et al., L_col; printed weight 0.1.
    """
    estimate, target = pair(estimate, target)
    norms = _norm(estimate) * _norm(target)
    return 1 - (((estimate * target).sum(1) + DARK) / (norms + DARK)).mean()


def _norm(image: Tensor) -> Tensor:
    """Length of every RGB vector; its gradient is 0, not infinite, at black."""
    return image.square().sum(1).clamp(min=1e-12).sqrt()


def low_frequency(estimate: Tensor, target: Tensor) -> Tensor:
    """Charbonnier against the low-pass of the clean image, N x C x H x W.

    Xu et al. compute it of the image before its refinement, L_acc(X^c, X_f^gt), printed weight 1.
    They do not give the Gaussian's size; here 5x5, sigma 1.1, edges repeated. Minimum 1e-3,
    where the estimate is the blurred target.
    """
    estimate, target = pair(estimate, target)
    padded = _repeat_edges(target, LOW_PASS_SIZE // 2)
    return _charbonnier(estimate - _gaussian(padded, LOW_PASS_SIZE, LOW_PASS_SIGMA))


def regional(estimate: Tensor, target: Tensor) -> Tensor:
    """Charbonnier between the means of squares of :data:`REGION` pixels: what a veil leaves behind.

    N x C x H x W; a smaller image is one region. Minimum 1e-3, where all means are equal.
    """
    estimate, target = pair(estimate, target)
    size = [min(side, REGION) for side in estimate.shape[-2:]]
    return _charbonnier(functional.avg_pool2d(estimate - target, size))


def psnr_shortfall(estimate: Tensor, target: Tensor) -> Tensor:
    """How many dB the PSNR of N x C x H x W images is below :data:`BEST_PSNR`, mean over the images.

    10 log10(1 + MSE / MSE of the best), so each image counts by its own error; 0 at equality. With a best
    PSNR without bound it is the PSNR loss of HINet (Chen et al., CVPRW 2021), whose gradient is then
    infinite at equality.
    """
    estimate, target = pair(estimate, target)
    error = (estimate - target).square().flatten(1).mean(1)
    return 10 * torch.log10(1 + error * 10 ** (BEST_PSNR / 10)).mean()


def restoration(estimate: Tensor, target: Tensor) -> Tensor:
    """LoopNet's mix: Charbonnier + 0.05 edge (MSPFN) + 0.1 colour (Xu). Minimum 1.05e-3, at equality."""
    return charbonnier(estimate, target) + 0.05 * edge(estimate, target) + 0.1 * colour(estimate, target)


def expected_error(predicted: Tensor, estimate: Tensor, target: Tensor) -> Tensor:
    """How far the predicted absolute error (N x 1 x H x W) is from the real one; trains no image.

    Smooth L1 (quadratic below 0.02); 0 where the prediction is the mean error over RGB of the
    estimate clipped to 0..1.
    """
    estimate, target = pair(estimate.detach(), target)
    error = (estimate.clamp(0, 1) - target).abs().mean(1, keepdim=True)
    return functional.smooth_l1_loss(single(predicted), error, beta=0.02)
