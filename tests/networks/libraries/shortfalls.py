"""Networks that aren't cut as they should be, or can't be checked by hand, and why."""

SHORTFALLS: dict[str, str] = {
    "transformers:longformer": "rows for global attention are written by position into tensors of a fixed size",
    "transformers:prophetnet": "rows are looked up by position; heads are as wide as a stream that is put out",
    "transformers:dinov3-vit": "one size counts the places of queries, which follow a table, and of values",
    "transformers:focalnet": "a layer's output is split in parts as wide as the stream, and a few single channels",
    "transformers:clip": "streams and heads of both towers are put out",
    "transformers:siglip": "streams and heads of both towers are put out",
    "transformers:blip": "streams are put out, and the code reads the width of heads off them",
    "transformers:videomae": "a fixed table of positions is added to the stream",
    "transformers:patchtsmixer": "the stream is put out, and meets values of a fixed size",
    "segmentation-models-pytorch:pspnet-resnet18": "most of the encoder isn't used",
    "monai:patch-discriminator": "all that it computes is put out",
    "diffusers:t2i-adapter": "nearly all that it computes is put out",
    "diffusers:autoencoder-kl-temporal": "the code fixes sizes of its temporal blocks",
    "diffusers:autoencoder-dc": "channels are sliced and repeated at fixed places",
    "speechbrain:conformer-relative": "heads of unequal size; the input is added to the stream, which is put out",
    "speechbrain:conformer-asr": "heads of unequal size; the stream is put out",
    "speechbrain:transformer-enhancement": "the input is added to the stream, and the code reads heads off its width",
    "speechbrain:crdnn": "pooling mixes positions that go on as channels",
}
"""By title: what is cut less than it should be, or takes too long."""

NOT_BY_HAND: dict[str, str] = {
    "transformers:autoformer": "delays are weighed by a mean over channels: of the kept ones in the cut network, of "
    "all in the original",
}
"""By title: why the original masked by hand gives other numbers where the cut is right."""
