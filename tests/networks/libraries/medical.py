"""Networks of monai: images and volumes."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from tests.networks.libraries.network import Arguments, Example, Network, images, values

LIBRARY = "monai"
FLAT = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
LEVELS = {"channels": (8, 16, 32), "strides": (2, 2)}
IN_SHAPE = {"in_shape": (1, 32, 32), "channels": (8, 16), "strides": (2, 2)}
DIFFUSION = {
    **FLAT,
    "channels": (16, 32),
    "attention_levels": (False, True),
    "num_res_blocks": 1,
    "norm_num_groups": 8,
}
FLAT_IMAGES, SOLID_IMAGES = images(32, 1), images(32, 1, dims=3)


# fmt: off
def networks() -> Iterator[Network]:
    """Segmenters, classifiers, autoencoders, diffusion."""
    for name, kind, settings, example in (*_segmenters(), *_others(), *_generators()):
        yield Network(LIBRARY, name, Built(kind, settings), example)


def _segmenters() -> Iterator[tuple[str, str, dict[str, Any], Example]]:
    yield "unet", "UNet", {**FLAT, **LEVELS, "num_res_units": 2}, FLAT_IMAGES
    yield "basic-unet", "BasicUNet", {**FLAT, "features": (8, 8, 16, 32, 64, 8)}, FLAT_IMAGES
    dyn = {**FLAT, "kernel_size": (3, 3, 3), "strides": (1, 2, 2), "upsample_kernel_size": (2, 2), "filters": (8, 16,
        32)}
    yield "dynunet", "DynUNet", dyn, FLAT_IMAGES
    yield "dynunet-residual", "DynUNet", {**dyn, "res_block": True, "deep_supervision": True}, FLAT_IMAGES
    yield "segresnet", "SegResNet", {**FLAT, "init_filters": 8}, FLAT_IMAGES
    yield "segresnet-vae", "SegResNetVAE", {"spatial_dims": 2, "in_channels": 1, "out_channels": 2,
        "input_image_size": (32, 32), "init_filters": 8, "vae_nz": 16}, FLAT_IMAGES
    yield "unetr", "UNETR", {"in_channels": 1, "out_channels": 2, "img_size": 32, "feature_size": 8,
        "hidden_size": 64, "mlp_dim": 128, "num_heads": 4, "spatial_dims": 2}, FLAT_IMAGES
    yield "swin-unetr", "SwinUNETR", {"in_channels": 1, "out_channels": 2, "feature_size": 12, "spatial_dims": 2,
        "depths": (1, 1, 1, 1), "num_heads": (2, 2, 4, 4)}, images(64, 1)
    yield "highresnet", "HighResNet", FLAT, FLAT_IMAGES
    yield "quicknat", "Quicknat", {"num_classes": 4, "num_filters": 8, "se_block": None}, FLAT_IMAGES
    yield "flexible-unet", "FlexibleUNet", {"in_channels": 3, "out_channels": 2, "backbone": "resnet18",
        "decoder_channels": (32, 16, 16, 8, 8)}, images(64)
    yield "mednext", "MedNeXt", {**FLAT, "init_filters": 8, "kernel_size": 3, "blocks_down": (1, 1, 1, 1),
        "blocks_up": (1, 1, 1, 1), "blocks_bottleneck": 1}, FLAT_IMAGES
    registration = {"spatial_dims": 2, "in_channels": 2, "num_channel_initial": 8}
    yield "regunet", "RegUNet", {**registration, "depth": 2, "out_channels": 2}, images(32, 2)
    yield "localnet", "LocalNet", {**registration, "extract_levels": (0, 1), "out_channels": 2}, images(32, 2)


def _others() -> Iterator[tuple[str, str, dict[str, Any], Example]]:
    yield "densenet121", "DenseNet121", {**FLAT, "init_features": 16, "growth_rate": 8}, FLAT_IMAGES
    resnet = {"spatial_dims": 2, "n_input_channels": 1, "num_classes": 4, "widen_factor": 0.25}
    yield "resnet18", "resnet18", {**resnet, "pretrained": False}, FLAT_IMAGES
    yield "resnet50-3d", "resnet50", {**resnet, "spatial_dims": 3, "shortcut_type": "A"}, SOLID_IMAGES
    yield "seresnet50", "SEResNet50", {"spatial_dims": 2, "in_channels": 1, "num_classes": 4, "layers": (1, 1, 1,
        1)}, FLAT_IMAGES
    yield "efficientnet", "EfficientNetBN", {"model_name": "efficientnet-b0", "pretrained": False,
        "num_classes": 4}, images(64)
    vit = {"in_channels": 1, "img_size": 32, "patch_size": 8, "hidden_size": 64, "mlp_dim": 128, "num_layers": 2,
        "num_heads": 4, "spatial_dims": 2}
    yield "vit", "ViT", {**vit, "classification": True, "num_classes": 4}, FLAT_IMAGES
    yield "classifier", "Classifier", {**IN_SHAPE, "classes": 4}, FLAT_IMAGES
    yield "fully-connected", "FullyConnectedNet", {"in_channels": 16, "out_channels": 4, "hidden_channels": (32,
        32)}, values(16)


def _generators() -> Iterator[tuple[str, str, dict[str, Any], Example]]:
    yield "var-autoencoder", "VarAutoEncoder", {"channels": (8, 16), "strides": (2, 2), "spatial_dims": 2,
        "in_shape": (1, 32, 32), "out_channels": 2, "latent_size": 8}, FLAT_IMAGES
    yield "generator", "Generator", {"latent_shape": (16,), "start_shape": (8, 8, 8), "channels": (16, 8, 1),
        "strides": (2, 2, 1)}, values(16)
    yield "autoencoder-kl", "AutoencoderKL", {**DIFFUSION, "latent_channels": 4}, FLAT_IMAGES
    yield "vqvae", "VQVAE", {**FLAT, "channels": (16, 32), "num_res_layers": 1, "num_res_channels": (16, 32),
        "downsample_parameters": ((2, 4, 1, 1),) * 2, "upsample_parameters": ((2, 4, 1, 1, 0),) * 2,
        "num_embeddings": 16, "embedding_dim": 8}, FLAT_IMAGES
    unet = {**DIFFUSION, "num_head_channels": 8}
    conditioned = {**unet, "with_conditioning": True, "cross_attention_dim": 16}
    yield "diffusion-unet-conditioned", "DiffusionModelUNet", conditioned, _conditioned
    yield "patch-discriminator", "PatchDiscriminator", {"spatial_dims": 2, "channels": 8, "in_channels": 1}, FLAT_IMAGES
    yield "decoder-transformer", "DecoderOnlyTransformer", {"num_tokens": 100, "max_seq_len": 32,
        "attn_layers_dim": 64, "attn_layers_depth": 2, "attn_layers_heads": 4}, _text


# fmt: on
class Built:
    """Builds a class of monai."""

    def __init__(self, kind: str, settings: dict[str, Any]) -> None:
        self.kind, self.settings = kind, settings

    def __call__(self) -> nn.Module:
        from monai.networks import nets

        return getattr(nets, self.kind)(**self.settings)


def _timed(batch: int, scale: float) -> Arguments:
    side = round(32 * scale)
    return Arguments((torch.randn(batch, 1, side, side),), {"timesteps": torch.tensor([3] * batch)})


def _conditioned(batch: int, scale: float) -> Arguments:
    timed = _timed(batch, scale)
    return Arguments(timed.args, {**timed.kwargs, "context": torch.randn(batch, 3, 16)})


def _bags(batch: int, scale: float) -> Arguments:
    side = round(64 * scale)
    return Arguments((torch.randn(batch, 3, 3, side, side),))


def _text(batch: int, scale: float) -> Arguments:
    return Arguments((torch.randint(0, 100, (batch, round(12 * scale))),))
