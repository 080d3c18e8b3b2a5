"""What the five papers print of their models, for the columns beside ours.

None of it was measured here: other pictures, other training data, other machines.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Printed:
    """Figures of one model as its paper prints them; None where it prints none.

    Attributes:
        paper: model and paper.
        rain100l, rain100h: PSNR in dB and SSIM on the 100 pairs of the test set, on Y unless said.
        parameters_m: in millions.
        gmac: what the paper calls GFlops, for 512x512.
        time: per image, with size and GPU.
        beside: what else it prints, above all of perception.
    """

    paper: str
    rain100l: str | None = None
    rain100h: str | None = None
    parameters_m: float | None = None
    gmac: float | None = None
    time: str | None = None
    beside: str = ""

    def cells(self) -> dict[str, str | float]:
        """What the table shows of it, by column; what the paper does not print is left out."""
        shown = {
            "printed_paper": self.paper,
            "printed_rain100l": self.rain100l,
            "printed_rain100h": self.rain100h,
            "printed_parameters_m": self.parameters_m,
            "printed_gmac": self.gmac,
            "printed_time": self.time,
        }
        return {key: value for key, value in shown.items() if value is not None}


_PRINTED = {
    ("sapnet", "paper"): Printed(
        "SAPNet (WACVW 2022)",
        rain100l="34.77 / 0.973 (RGB)",
        rain100h="29.46 / 0.897 (RGB)",
        time="0.150 s (512x512, RTX 2080 Ti)",
        beside="CityScape150, PSPNet: mIoU 62.2 % derained, 50.7 % in rain, 66.7 % clean (Table 7).",
    ),
    ("mspfn", "m17n1"): Printed(
        "MSPFN M17N1 (CVPR 2020)",
        rain100l="32.40 / 0.933",
        rain100h="28.66 / 0.860",
        parameters_m=13.35,
        gmac=708.39,
        time="0.507 s (512x512, Titan Xp)",
        beside="BDD150, RefineNet: mIoU 35.90 % derained, 20.49 % in rain (Table 6). GMAC and time are "
        "printed by DANet's paper.",
    ),
    ("mspfn", "light"): Printed(
        "MSPFN* M5N1 (CVPR 2020)",
        parameters_m=1.65,
        time="0.23 s (1280x720, Titan Xp)",
        beside="Test100: 24.99 dB, 0.850. BDD150, RefineNet: mIoU 33.74 % derained, 20.49 % in rain "
        "(Tables 3, 6).",
    ),
    ("danet", "danet"): Printed(
        "DANet (IJCAI 2022)",
        rain100l="34.07 / 0.950",
        rain100h="28.83 / 0.870",
        parameters_m=1.547,
        gmac=49.11,
        time="0.079 s (512x512, Titan Xp)",
        beside="COCO350, YOLOv3: precision 33.51 %, recall 40.63 %, IoU 62.40 % (Table 4).",
    ),
    ("danet", "diamond"): Printed(
        "DANet-diamond (IJCAI 2022)",
        rain100l="35.85 / 0.962",
        rain100h="29.96 / 0.889",
        parameters_m=2.943,
        gmac=130.91,
        time="0.109 s (512x512, Titan Xp)",
    ),
    ("phpnet", "paper"): Printed(
        "PHP (TIP 2021)",
        time="0.008 s (size not stated, GTX 1080 Ti)",
        beside="Cityscapes in its own rain: 26.53 dB, 0.8975; PSPNet: mIoU 47.2 % derained, 11.5 % in rain "
        "(Tables I, VI).",
    ),
    ("ubcn", "pspnet50"): Printed(
        "UBCN (AAAI 2022)",
        beside="Cityscapes in its own rain: 43.22 dB, 0.9831; PSPNet-50: mIoU 77.09 % in the loop, 71.08 % "
        "in rain (Table 1).",
    ),
    ("ubcn", "hrnet18"): Printed(
        "UBCN (AAAI 2022)",
        beside="Cityscapes in its own rain: 43.22 dB, 0.9831; HRNet-18: mIoU 68.65 % in the loop, 61.48 % in "
        "rain (Table 1).",
    ),
}
_NEAREST = {("phpnet", "light"): "paper", ("ubcn", "light"): "pspnet50", ("sapnet", "video"): "paper"}
"""Variants that are ours: the paper's only size stands beside them."""


def of(network: str, variant: str) -> Printed | None:
    """What is printed of a derainer; None: it is of none of the papers, or they print nothing of its size."""
    return _PRINTED.get((network, _NEAREST.get((network, variant), variant)))
