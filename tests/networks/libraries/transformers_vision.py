"""Networks for images and video, and for images with text, of transformers."""

from collections.abc import Iterator
from typing import Any

import torch

from tests.networks.libraries.network import Arguments, Example, Network, images, words
from tests.networks.libraries.transformers_text import LIBRARY, PLAIN, VOCABULARY, TransformersModel

SIDE = 64
VIT = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "image_size": SIDE,
    "patch_size": 16,
}
HEAD = "ForImageClassification"
STAGES = {"depths": [1, 1, 1, 1], "hidden_sizes": [16, 32, 48, 64]}
RESNET = {"embedding_size": 16, "hidden_sizes": [32, 64, 96, 128], "depths": [1, 1, 1, 1]}
SWIN = {"image_size": SIDE, "embed_dim": 24, "depths": [1, 1], "num_heads": [2, 4], "window_size": 4}
PYRAMID = {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 3, 4]}
DETECTOR = {
    "d_model": 64,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "num_queries": 10,
}
TEXT = {**PLAIN, "num_hidden_layers": 2}
TWO_TOWERS = {"text_config": TEXT, "vision_config": VIT, "projection_dim": 32}
MAPS = "pixel_values"


# fmt: off
def networks() -> Iterator[Network]:
    """Classifiers, segmenters, detectors, depth, video, and pairs of image and text."""
    classifiers: dict[str, tuple[str, str, dict[str, Any]]] = {
        "beit": ("Beit", HEAD, {**VIT, "use_relative_position_bias": True}),
        "bit": ("Bit", HEAD, {**RESNET, "embedding_size": 32, "hidden_sizes": [64, 64, 128, 128], "depths": [1, 1, 1,
            1], "num_groups": 8}),
        "convnext": ("ConvNext", HEAD, STAGES),
        "convnextv2": ("ConvNextV2", HEAD, STAGES),
        "cvt": ("Cvt", HEAD, {"embed_dim": [16, 32, 64], "num_heads": [1, 2, 4], "depth": [1, 2, 3]}),
        "dinov2": ("Dinov2", HEAD, {**VIT, "mlp_ratio": 2}),
        "dinov3-vit": ("DINOv3ViT", "Model", VIT),
        "efficientnet": ("EfficientNet", HEAD, {"width_coefficient": 0.5, "depth_coefficient": 0.5,
            "image_size": SIDE, "hidden_dim": 640}),
        "focalnet": ("FocalNet", HEAD, {"image_size": SIDE, "embed_dim": 24, "depths": [1, 1], "hidden_sizes": [24,
            48], "focal_levels": [2, 2], "focal_windows": [3, 3]}),
        "hiera": ("Hiera", HEAD, {"embed_dim": 24, "image_size": [SIDE, SIDE], "depths": [1, 1, 2, 1],
            "num_heads": [1, 2, 4, 8]}),
        "levit": ("Levit", HEAD, {"image_size": SIDE, "hidden_sizes": [32, 48, 64], "num_attention_heads": [2, 3, 4],
            "key_dim": [16, 16, 16], "depths": [1, 1, 1]}),
        "mobilenet-v2": ("MobileNetV2", HEAD, {"depth_multiplier": 0.35, "image_size": SIDE}),
        "mobilevit": ("MobileViT", HEAD, {"image_size": SIDE, "hidden_sizes": [32, 48, 64], "neck_hidden_sizes": [16,
            32, 48, 64, 80, 96, 160]}),
        "poolformer": ("PoolFormer", HEAD, {**STAGES}),
        "pvt-v2": ("PvtV2", HEAD, {**PYRAMID, "image_size": SIDE}),
        "regnet": ("RegNet", HEAD, {**RESNET, "groups_width": 16}),
        "swiftformer": ("SwiftFormer", HEAD, {"depths": [1, 1, 1, 1], "embed_dims": [24, 32, 48, 64],
            "image_size": SIDE}),
        "swin": ("Swin", HEAD, SWIN),
        "swinv2": ("Swinv2", HEAD, SWIN),
        "vit": ("ViT", HEAD, VIT),
    }
    backbone = {"backbone_config": _configuration("ResNet", **RESNET, out_features=["stage2", "stage3", "stage4"])}
    last = {"backbone_config": _configuration("ResNet", **RESNET, out_features=["stage4"])}
    vit = {"backbone_config": _configuration("Dinov2", **VIT, mlp_ratio=2, out_features=["stage1", "stage2"],
        reshape_hidden_states=False)}
    swin = _configuration("Swin", **SWIN | {"depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8]},
        out_features=["stage1", "stage2", "stage3", "stage4"])
    others: dict[str, tuple[str, str, dict[str, Any]]] = {
        "deformable-detr": ("DeformableDetr", "ForObjectDetection", {**DETECTOR, **backbone, "num_feature_levels": 4}),
        "depth-anything": ("DepthAnything", "ForDepthEstimation", {**vit, "reassemble_hidden_size": 64,
            "neck_hidden_sizes": [24, 48], "fusion_hidden_size": 32, "reassemble_factors": [2, 1], "patch_size": 16}),
        "detr": ("Detr", "ForObjectDetection", {**DETECTOR, **last}),
        "dpt": ("DPT", "ForDepthEstimation", {**VIT, "num_hidden_layers": 4, "backbone_out_indices": [0, 1, 2, 3],
            "neck_hidden_sizes": [16, 32, 48, 64], "fusion_hidden_size": 32, "is_hybrid": False}),
        "mask2former": ("Mask2Former", "ForUniversalSegmentation", {"backbone_config": swin, "feature_size": 32,
            "mask_feature_size": 32, "hidden_dim": 32, "encoder_feedforward_dim": 64, "dim_feedforward": 64,
            "encoder_layers": 1, "decoder_layers": 3, "num_attention_heads": 4, "num_queries": 10}),
        "rt-detr": ("RTDetr", "ForObjectDetection", {**backbone, "encoder_in_channels": [64, 96, 128], "d_model": 64,
            "encoder_hidden_dim": 64, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "decoder_in_channels": [64, 64,
            64], "decoder_layers": 1, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "num_queries": 10,
            "anchor_image_size": None}),
        "segformer": ("Segformer", "ForSemanticSegmentation", {**PYRAMID, "decoder_hidden_size": 32}),
        "superpoint": ("SuperPoint", "ForKeypointDetection", {"encoder_hidden_sizes": [16, 16, 32, 32],
            "decoder_hidden_size": 32, "keypoint_decoder_dim": 65, "descriptor_decoder_dim": 32}),
        "swin2sr": ("Swin2SR", "ForImageSuperResolution", {"image_size": SIDE, "embed_dim": 24, "depths": [2, 2],
            "num_heads": [2, 2], "window_size": 4, "upscale": 2, "upsampler": "pixelshuffle", "patch_size": 1,
            "num_channels": 3, "mlp_ratio": 2.0}),
        "vitpose": ("VitPose", "ForPoseEstimation", {"backbone_config": _configuration("VitPoseBackbone",
            **VIT | {"image_size": [64, 64], "patch_size": [16, 16]}, out_features=["stage2"]), "num_labels": 17}),
    }
    for name, (family, head, settings) in {**classifiers, **others}.items():
        side = 32 if name == "swin2sr" else SIDE
        yield Network(LIBRARY, name, TransformersModel(family, head, settings), images(side, name=MAPS))
    yield Network(LIBRARY, "clip", TransformersModel("CLIP", "Model", TWO_TOWERS), image_and_text())
    clip = {"text_config": TEXT, "vision_config": VIT}
    yield Network(LIBRARY, "clipseg", TransformersModel("CLIPSeg", "ForImageSegmentation", {**TWO_TOWERS,
        "projection_dim": 64, "reduce_dim": 32, "extract_layers": [0, 1], "decoder_num_attention_heads": 4,
        "decoder_intermediate_size": 64}), image_and_text())
    yield Network(LIBRARY, "siglip", TransformersModel("Siglip", "Model", clip), image_and_text())
    yield Network(LIBRARY, "blip", TransformersModel("Blip", "ForImageTextRetrieval", {**TWO_TOWERS,
        "image_text_hidden_size": 32, "text_config": {**TEXT, "encoder_hidden_size": 64, "projection_dim": 32,
        "is_decoder": True}}), image_and_text())
    yield Network(LIBRARY, "vilt", TransformersModel("Vilt", "ForQuestionAnswering", {**VIT, **TEXT}), image_and_text())
    clip_video = {"num_frames": 4, "tubelet_size": 2}
    for name, family, more in (
        ("videomae", "VideoMAE", clip_video),
        ("timesformer", "Timesformer", {"num_frames": 4}),
        ("vivit", "Vivit", {"num_frames": 4, "tubelet_size": [2, 16, 16]}),
    ):
        yield Network(LIBRARY, name, TransformersModel(family, "ForVideoClassification", {**VIT, **more}), frames(4))


# fmt: on
def _configuration(family: str, **settings: Any) -> Any:
    """A configuration to be made when the network is built: (class, settings)."""
    return family, settings


def image_and_text() -> Example:
    """An image and a text of tokens."""

    def example(batch: int, scale: float) -> Arguments:
        text = words(batch, round(12 * scale), VOCABULARY)
        text[:, -1] = 2
        return Arguments((), {"input_ids": text, "pixel_values": torch.randn(batch, 3, SIDE, SIDE)})

    return example


def frames(count: int) -> Example:
    """Videos: frames before channels."""

    def example(batch: int, scale: float) -> Arguments:
        side = round(SIDE * scale)
        return Arguments((), {"pixel_values": torch.randn(batch, count, 3, side, side)})

    return example
