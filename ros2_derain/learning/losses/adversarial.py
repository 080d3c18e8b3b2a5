"""Feature-level adversarial alignment (UBCN, AAAI 2022, Eq. 2).

A discriminator D looks at the parser's features (N x C x h x w) and returns logits of any
shape, high for the features of a clean image. D maximises
``log(1 - D(derained)) + log D(clean)``; the parser wants its features of the derained
image taken for those of a clean one.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from .precision import single


def discrimination(discriminator: nn.Module, derained: Tensor, clean: Tensor) -> Tensor:
    """The discriminator's side: -log(1 - D(derained)) - log D(clean), each averaged.

    Trains D only: no gradient reaches the features. 0 when it tells all apart, 2 log 2 when it
    knows nothing.
    """
    of_derained = single(discriminator(derained.detach()))
    of_clean = single(discriminator(clean.detach()))
    return functional.softplus(of_derained).mean() + functional.softplus(-of_clean).mean()


def alignment(discriminator: nn.Module, derained: Tensor) -> Tensor:
    """The parser's side: mean -log D(derained), the non-saturating form.

    Trains the features only: no gradient reaches D's weights. At least 0; log 2 when D knows
    nothing. Printed weight 1e-3 (Eq. 7).
    """
    frozen = {name: parameter.detach() for name, parameter in discriminator.named_parameters()}
    return functional.softplus(-single(functional_call(discriminator, frozen, (derained,)))).mean()
