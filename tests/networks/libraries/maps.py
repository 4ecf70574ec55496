"""Networks of ultralytics, segmentation-models-pytorch, facenet-pytorch and timm: images in, maps or classes out."""

from collections.abc import Iterator

from torch import nn

from tests.networks.libraries.network import Network, images

DETECTORS = """
    yolov3-tiny yolov5n yolov6n yolov8n yolov8n-ghost yolov8n-rtdetr yolov8n-world yolov8n-seg yolov8n-pose yolov8n-cls
    yolov9t yolov10n yolo11n yolo11n-pose yolo11n-cls yolo12n yolo26n yolo26n-cls
""".split()
SEGMENTERS = """
    Unet/resnet18 Unet/mobilenet_v2 Unet/efficientnet-b0 Unet/se_resnet50 Unet/timm-regnetx_002 Unet/dpn68 Unet/mit_b0
    UnetPlusPlus/resnet18 MAnet/resnet18 Linknet/resnet18 FPN/resnet18 PSPNet/resnet18 PAN/resnet18 DeepLabV3/resnet18
    DeepLabV3Plus/mobilenet_v2 UPerNet/resnet18 Segformer/mit_b0
""".split()
"""Decoder and encoder."""
FACES = {"PNet": 24, "RNet": 24, "ONet": 48, "InceptionResnetV1": 96}
"""With the side of their images."""
TIMM = {
    "ghostnetv2_100": 64,
    "res2next50": 64,
    "vit_tiny_patch16_224": 224,
    "mixer_s32_224": 224,
    "xcit_nano_12_p16_224": 64,
    "efficientvit_b0": 64,
    "repvit_m0_9": 64,
}
"""A few; `python -m tests.benchmarks.coverage --timm` runs one of each family."""


def networks() -> Iterator[Network]:
    """Detectors, segmenters, faces and classifiers."""
    for name in DETECTORS:
        yield Network("ultralytics", name, Yolo(name), images(64))
    for decoder, encoder in (title.split("/") for title in SEGMENTERS):
        side = 128 if decoder == "PAN" else 64
        title = f"{decoder.lower()}-{encoder}"
        yield Network("segmentation-models-pytorch", title, Segmenter(decoder, encoder), images(side))
    for name, side in FACES.items():
        yield Network("facenet-pytorch", name.lower(), Face(name), images(side))
    for name, side in TIMM.items():
        yield Network("timm", name, Timm(name), images(side))


class Yolo:
    """Builds a network from one of ultralytics' own descriptions."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self) -> nn.Module:
        from ultralytics import YOLO
        from ultralytics.nn.tasks import RTDETRDetectionModel

        if "rtdetr" in self.name:
            return RTDETRDetectionModel(f"{self.name}.yaml", verbose=False)
        return YOLO(f"{self.name}.yaml", verbose=False).model


class Segmenter:
    """Builds an encoder and a decoder."""

    def __init__(self, decoder: str, encoder: str) -> None:
        self.decoder, self.encoder = decoder, encoder

    def __call__(self) -> nn.Module:
        import segmentation_models_pytorch

        return getattr(segmentation_models_pytorch, self.decoder)(self.encoder, encoder_weights=None, classes=4)


class Face:
    """Builds a network for faces; those that come with weights are given random ones."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self) -> nn.Module:
        from facenet_pytorch import InceptionResnetV1
        from facenet_pytorch.models import mtcnn

        if self.name == "InceptionResnetV1":
            return InceptionResnetV1(classify=True, num_classes=10)
        return getattr(mtcnn, self.name)(pretrained=False)


class Timm:
    """Builds a network of timm."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self) -> nn.Module:
        import timm

        return timm.create_model(self.name, num_classes=10)
