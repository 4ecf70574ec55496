"""Networks that aren't cut as they should be, or can't be checked by hand, and why."""

SHORTFALLS: dict[str, str] = {
    "transformers:longformer": "windows are read by strides, and rows for global attention are written by position",
    "transformers:prophetnet": "rows are looked up by position; heads are as wide as a stream that is put out",
    "transformers:dinov3-vit": "the stream is put out: of what may be cut, half goes",
    "transformers:focalnet": "a layer's output is split in parts as wide as the stream, and a few single channels",
    "transformers:clip": "streams of both towers are put out",
    "transformers:siglip": "streams of both towers are put out, and attention reads the width of its heads off them",
    "transformers:blip": "streams are put out, and the code reads the width of heads off them",
    "transformers:videomae": "a fixed table of positions is added to the stream",
    "transformers:patchtsmixer": "the stream is put out, and meets values of a fixed size",
    "segmentation-models-pytorch:pspnet-resnet18": "most of the encoder isn't used",
    "monai:patch-discriminator": "all that it computes is put out",
    "diffusers:t2i-adapter": "nearly all that it computes is put out",
    "diffusers:autoencoder-dc": "what reads the size of a head is no module; a shortcut takes means of fixed runs",
    "speechbrain:conformer-relative": "a bias is kept in other rows than heads; the input is added to the stream",
    "speechbrain:conformer-asr": "a bias is kept in other rows than heads; their width is read off the stream",
    "speechbrain:transformer-enhancement": "the input is added to the stream, and the code reads heads off its width",
    "speechbrain:crdnn": "pooling mixes positions that go on as channels; only training reads a table",
}
"""By title: what is cut less than it should be, or takes too long."""

NOT_BY_HAND: dict[str, str] = {
    "transformers:autoformer": "delays are weighed by a mean over channels: of the kept ones in the cut network, of "
    "all in the original",
}
"""By title: why the original masked by hand gives other numbers where the cut is right."""
