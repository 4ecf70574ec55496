"""Networks of diffusers."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from tests.networks.libraries.network import Arguments, Example, Network, images

LIBRARY = "diffusers"
# fmt: off
UNET = {
    "sample_size": 16,
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "norm_num_groups": 8,
}
CROSS = {
    **UNET,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "cross_attention_dim": 32,
    "attention_head_dim": 4,
}
CODEC = {
    "block_out_channels": (32, 64),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "norm_num_groups": 8,
}
TRANSFORMER = {"num_attention_heads": 4, "attention_head_dim": 16, "num_layers": 2}


def networks() -> Iterator[Network]:
    """UNets, autoencoders, control networks and diffusion transformers."""
    for name, kind, settings, example in (*_unets(), *_codecs(), *_transformers()):
        yield Network(LIBRARY, name, Built(kind, settings), example)


def _unets() -> Iterator[tuple[str, str, dict[str, Any], Example]]:
    plain = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": 8}
    yield "unet-2d", "UNet2DModel", {**UNET, **plain}, noise((3, 16, 16))
    shifted = {**UNET, **plain, "resnet_time_scale_shift": "scale_shift", "downsample_type": "resnet",
        "upsample_type": "resnet"}
    yield "unet-2d-scale-shift", "UNet2DModel", shifted, noise((3, 16, 16))
    yield "unet-2d-condition", "UNet2DConditionModel", CROSS, noise((4, 16, 16), text=(7, 32))
    yield "unet-1d", "UNet1DModel", {"sample_size": 64, "in_channels": 2, "out_channels": 2, "extra_in_channels": 64,
        "block_out_channels": (32, 32, 64)}, noise((2, 64))
    solid = {"down_block_types": ("DownBlock3D", "CrossAttnDownBlock3D"), "up_block_types": ("CrossAttnUpBlock3D",
        "UpBlock3D")}
    yield "unet-3d-condition", "UNet3DConditionModel", {**CROSS, **solid, "attention_head_dim": 8}, noise((4, 2, 16,
        16), text=(7, 32))
    kandinsky = {"time_embedding_dim": 32, "groups": 8, "attention_head_dim": 8, "layers_per_block": 2,
        "block_out_channels": (16, 32, 32, 64), "cross_attention_dim": 32, "encoder_hid_dim": 32}
    yield "unet-kandinsky3", "Kandinsky3UNet", kandinsky, noise((4, 16, 16), text=(7, 32), encoder_attention_mask=(7,))
    control = {name: value for name, value in CROSS.items() if name not in ("up_block_types", "sample_size")}
    control["conditioning_embedding_out_channels"] = (16, 32)
    yield "controlnet", "ControlNetModel", control, noise((4, 16, 16), text=(7, 32), controlnet_cond=(3, 32, 32))
    adapter = {"channels": [32, 64], "num_res_blocks": 1, "downscale_factor": 8}
    yield "t2i-adapter", "T2IAdapter", adapter, images(64)


def _codecs() -> Iterator[tuple[str, str, dict[str, Any], Example]]:
    yield "autoencoder-kl", "AutoencoderKL", CODEC, images(32)
    asymmetric = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
        "down_block_out_channels": (32, 64), "up_block_out_channels": (32, 64), "norm_num_groups": 32}
    yield "asymmetric-autoencoder-kl", "AsymmetricAutoencoderKL", asymmetric, images(32)
    temporal = {"block_out_channels": (32, 64), "down_block_types": ("DownEncoderBlock2D",) * 2}
    yield "autoencoder-kl-temporal", "AutoencoderKLTemporalDecoder", temporal, images(32, num_frames=1)
    tiny = {"encoder_block_out_channels": (32, 32, 32), "decoder_block_out_channels": (32, 32, 32),
        "num_encoder_blocks": (1, 1, 1), "num_decoder_blocks": (1, 1, 1)}
    yield "autoencoder-tiny", "AutoencoderTiny", tiny, images(32)
    deep = {"latent_channels": 8, "attention_head_dim": 8, "encoder_block_types": ("ResBlock", "EfficientViTBlock"),
        "decoder_block_types": ("ResBlock", "EfficientViTBlock"), "encoder_block_out_channels": (16, 32),
        "decoder_block_out_channels": (16, 32), "encoder_layers_per_block": (1, 1), "decoder_layers_per_block": (1,
        1), "encoder_qkv_multiscales": ((), (5,)), "decoder_qkv_multiscales": ((), (5,)),
        "decoder_norm_types": "rms_norm"}
    yield "autoencoder-dc", "AutoencoderDC", deep, images(32)
    yield "vq-model", "VQModel", {**CODEC, "num_vq_embeddings": 16, "vq_embed_dim": 4, "latent_channels": 3}, images(32)


def _transformers() -> Iterator[tuple[str, str, dict[str, Any], Example]]:
    dit = {**TRANSFORMER, "in_channels": 4, "sample_size": 8, "num_embeds_ada_norm": 10}
    yield "dit", "DiTTransformer2DModel", dit, noise((4, 8, 8), class_labels=1)
    pixart = {**TRANSFORMER, "in_channels": 4, "out_channels": 8, "sample_size": 8, "cross_attention_dim": 64,
        "caption_channels": 32, "use_additional_conditions": False}
    yield "pixart", "PixArtTransformer2DModel", pixart, noise((4, 8, 8), text=(7, 32))
    plain = {**TRANSFORMER, "in_channels": 32, "cross_attention_dim": 32, "norm_num_groups": 8}
    yield "transformer-2d", "Transformer2DModel", plain, noise((32, 8, 8), text=(7, 32), timed=False)
    sd3 = {**TRANSFORMER, "sample_size": 8, "in_channels": 4, "out_channels": 4, "joint_attention_dim": 32,
        "caption_projection_dim": 64, "pooled_projection_dim": 48, "pos_embed_max_size": 16}
    yield "sd3", "SD3Transformer2DModel", sd3, noise((4, 8, 8), text=(7, 32), pooled_projections=(48,))
    flux = {**TRANSFORMER, "num_layers": 1, "num_single_layers": 1, "in_channels": 8, "joint_attention_dim": 32,
        "pooled_projection_dim": 48, "axes_dims_rope": (4, 4, 8)}
    yield "flux", "FluxTransformer2DModel", flux, _flux
    prior = {**TRANSFORMER, "embedding_dim": 32, "num_embeddings": 7, "additional_embeddings": 4}
    yield "prior-transformer", "PriorTransformer", prior, noise((32,), text=(7, 32), proj_embedding=(32,))
    sana = {**TRANSFORMER, "in_channels": 4, "out_channels": 4, "num_cross_attention_heads": 4,
        "cross_attention_head_dim": 16, "cross_attention_dim": 64, "caption_channels": 32, "sample_size": 8}
    yield "sana", "SanaTransformer2DModel", sana, noise((4, 8, 8), text=(7, 32))
    aura = {"num_attention_heads": 4, "attention_head_dim": 16, "num_mmdit_layers": 1, "num_single_dit_layers": 1,
        "sample_size": 8, "in_channels": 4, "joint_attention_dim": 32, "caption_projection_dim": 64,
        "pos_embed_max_size": 64}
    yield "aura-flow", "AuraFlowTransformer2DModel", aura, noise((4, 8, 8), text=(7, 32))


# fmt: on
class Built:
    """Builds a class of diffusers."""

    def __init__(self, kind: str, settings: dict[str, Any]) -> None:
        self.kind, self.settings = kind, settings

    def __call__(self) -> nn.Module:
        import diffusers

        return getattr(diffusers, self.kind)(**self.settings)


def noise(
    shape: tuple[int, ...],
    *,
    text: tuple[int, int] | None = None,
    timed: bool = True,
    class_labels: int | None = None,
    **more: tuple[int, ...],
) -> Example:
    """A noisy sample, its time, and what it depends on; maps are larger by the factor in their last two sizes."""

    def example(batch: int, scale: float) -> Arguments:
        def sized(sizes: tuple[int, ...]) -> torch.Tensor:
            grows = len(sizes) - 2 if len(sizes) > 2 else len(sizes)
            return torch.randn(batch, *[round(n * scale) if at >= grows else n for at, n in enumerate(sizes)])

        given: dict[str, Any] = {"timestep": torch.tensor([3] * batch)} if timed else {}
        if text is not None:
            given["encoder_hidden_states"] = torch.randn(batch, *text)
        if class_labels is not None:
            given["class_labels"] = torch.tensor([class_labels] * batch)
        return Arguments((sized(shape),), {**given, **{name: sized(sizes) for name, sizes in more.items()}})

    return example


def _flux(batch: int, scale: float) -> Arguments:
    length = round(16 * scale)
    return Arguments(
        (),
        {
            "hidden_states": torch.randn(batch, length, 8),
            "encoder_hidden_states": torch.randn(batch, 7, 32),
            "pooled_projections": torch.randn(batch, 48),
            "timestep": torch.full((batch,), 0.5),
            "img_ids": torch.randint(0, 8, (length, 3)).float(),
            "txt_ids": torch.zeros(7, 3),
        },
    )
