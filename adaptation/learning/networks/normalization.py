"""The normalisation of images that every encoder here was pretrained with (ImageNet's, as HRDA's authors apply it)."""

import torch

MEAN_RGB = (123.675, 116.28, 103.53)
STD_RGB = (58.395, 57.12, 57.375)
"""Mean and standard deviation of RGB values on the scale 0 to 255."""


def normalize(images_NHWC: torch.Tensor) -> torch.Tensor:
    """uint8 RGB [N, H, W, 3] to float32 [N, 3, H, W] in channels_last memory: (x - mean) * (1 / std)."""
    mean, std = (torch.tensor(values, device=images_NHWC.device) for values in (MEAN_RGB, STD_RGB))
    normalized_NHWC = (images_NHWC.float() - mean) * (1.0 / std)
    return normalized_NHWC.permute(0, 3, 1, 2)


def denormalize(images_NCHW: torch.Tensor) -> torch.Tensor:
    """Normalised images float32 [N, 3, H, W] back to RGB on the scale 0 to 1."""
    mean, std = (torch.tensor(values, device=images_NCHW.device).view(1, 3, 1, 1) for values in (MEAN_RGB, STD_RGB))
    return (images_NCHW * std + mean) / 255.0
