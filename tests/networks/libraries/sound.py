"""Networks of torchaudio and speechbrain."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import torch
from torch import nn

from tests.networks.libraries.network import Arguments, Example, Network, tokens, values

LOBES = "speechbrain.lobes.models"


# fmt: off
def networks() -> Iterator[Network]:
    """Speech from samples and from spectra, separation, voices."""
    for name, kind, settings, example in _torchaudio():
        yield Network("torchaudio", name, Built("torchaudio.models", kind, settings), example)
    for name, kind, settings, example in _speechbrain():
        place, _, own = kind.rpartition(".")
        yield Network("speechbrain", name, Built(f"{LOBES}.{place}", own, settings), example)


def _torchaudio() -> Iterator[tuple[str, str, dict[str, Any], Example]]:
    conformer = {"input_dim": 32, "num_heads": 4, "ffn_dim": 64, "num_layers": 2, "depthwise_conv_kernel_size": 7}
    yield "conformer", "Conformer", conformer, with_lengths(20, 32)
    yield "conv-tasnet", "ConvTasNet", {"enc_num_feats": 32, "msk_num_feats": 16, "msk_num_hidden_feats": 32,
        "msk_num_layers": 2, "msk_num_stacks": 2}, values(1, 400, along=1)
    yield "deepspeech", "DeepSpeech", {"n_feature": 16, "n_hidden": 32, "n_class": 10}, values(1, 12, 16, along=1)
    yield "emformer", "Emformer", {"input_dim": 32, "num_heads": 4, "ffn_dim": 64, "num_layers": 2,
        "segment_length": 4, "right_context_length": 1}, with_lengths(9, 32)
    yield "hdemucs", "HDemucs", {"sources": ["a", "b"], "channels": 8, "depth": 6, "nfft": 4096, "dconv_attn": 2,
        "dconv_lstm": 2}, values(2, 44100, along=1)
    yield "tacotron2", "Tacotron2", {"n_mels": 16, "n_symbol": 40, "symbol_embedding_dim": 32,
        "encoder_embedding_dim": 32, "decoder_rnn_dim": 32, "attention_rnn_dim": 32, "attention_hidden_dim": 16,
        "attention_location_n_filter": 8, "prenet_dim": 16, "postnet_embedding_dim": 32}, _spoken
    yield "wavernn", "WaveRNN", {"upsample_scales": [4, 4], "n_classes": 16, "hop_length": 16, "n_res_block": 2,
        "n_rnn": 32, "n_fc": 32, "n_freq": 16, "n_hidden": 16, "n_output": 16}, _wave_and_spectrum
    wave = {"extractor_mode": "group_norm", "extractor_conv_layer_config": [(32, 10, 5), (32, 3, 2), (32, 2, 2)],
        "extractor_conv_bias": False, "encoder_embed_dim": 64, "encoder_projection_dropout": 0.1,
        "encoder_pos_conv_kernel": 16, "encoder_pos_conv_groups": 4, "encoder_num_layers": 2, "encoder_num_heads": 4,
        "encoder_attention_dropout": 0.1, "encoder_ff_interm_features": 128, "encoder_ff_interm_dropout": 0.1,
        "encoder_dropout": 0.1, "encoder_layer_norm_first": False, "encoder_layer_drop": 0.0, "aux_num_out": 10}
    yield "wav2vec2", "wav2vec2_model", wave, values(800, along=0)
    wavlm = {**wave, "encoder_num_buckets": 16, "encoder_max_distance": 32}
    yield "wavlm", "wavlm_model", wavlm, values(800, along=0)
    yield "squim-objective", "squim_objective_base", {}, values(4000)


def _speechbrain() -> Iterator[tuple[str, str, dict[str, Any], Example]]:
    yield "ecapa-tdnn", "ECAPA_TDNN.ECAPA_TDNN", {"input_size": 20, "channels": [32, 32, 32, 32, 96],
        "lin_neurons": 16, "res2net_scale": 4, "se_channels": 16, "attention_channels": 16}, spectrum(30, 20)
    yield "xvector", "Xvector.Xvector", {"in_channels": 20, "tdnn_channels": [32, 32, 32, 32, 96],
        "lin_neurons": 32}, spectrum(30, 20)
    crdnn = {"input_shape": [None, None, 20], "cnn_channels": [8, 16], "rnn_neurons": 32, "rnn_layers": 2,
        "dnn_neurons": 32}
    yield "crdnn", "CRDNN.CRDNN", crdnn, spectrum(30, 20)
    yield "contextnet", "ContextNet.ContextNet", {"input_shape": (1, 30, 20), "out_channels": 32,
        "conv_channels": [16] * 4, "strides": [1, 2, 1, 1], "num_blocks": 4, "num_layers": 2, "residuals": [False,
        True, True, False]}, spectrum(30, 20)
    yield "resnet", "ResNet.ResNet", {"input_size": 20, "channels": [8, 8, 16, 16], "block_sizes": [1, 1, 1, 1],
        "lin_neurons": 16}, spectrum(30, 20)
    yield "vanilla", "VanillaNN.VanillaNN", {"input_shape": [None, None, 20], "dnn_neurons": 32}, spectrum(30, 20)
    yield "metricgan", "MetricGAN.EnhancementGenerator", {"input_size": 257, "hidden_size": 200}, with_lengths(12,
        257, relative=True)
    yield "metricgan-discriminator", "MetricGAN.MetricDiscriminator", {}, values(2, 40, 40, along=2)
    yield "hifigan", "HifiGAN.HifiganGenerator", {"in_channels": 20, "out_channels": 1, "resblock_type": "1",
        "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5]], "resblock_kernel_sizes": [3, 7],
        "upsample_kernel_sizes": [8, 4], "upsample_initial_channel": 32, "upsample_factors": [4, 2]}, values(20, 16,
        along=1)
    yield "conv-tasnet-mask", "conv_tasnet.MaskNet", {"N": 32, "B": 16, "H": 32, "P": 3, "X": 2, "R": 2,
        "C": 2}, values(32, 40, along=1)
    conformer = {"num_layers": 2, "d_model": 32, "d_ffn": 64, "nhead": 4, "kernel_size": 7}
    yield "conformer", "transformer.Conformer.ConformerEncoder", {**conformer,
        "attention_type": "regularMHA"}, values(20, 32, along=0)
    relative = {**conformer, "attention_type": "RelPosMHAXL"}
    yield "conformer-relative", "transformer.Conformer.ConformerEncoder", relative, _relative
    branchformer = {"num_layers": 2, "d_model": 32, "nhead": 4, "kernel_size": 7, "attention_type": "regularMHA",
        "csgu_linear_units": 64}
    yield "branchformer", "transformer.Branchformer.BranchformerEncoder", branchformer, values(20, 32, along=0)
    asr = {"tgt_vocab": 40, "input_size": 20, "d_model": 32, "nhead": 4, "num_encoder_layers": 2,
        "num_decoder_layers": 2, "d_ffn": 64}
    yield "conformer-asr", "transformer.TransformerASR.TransformerASR", {**asr, "encoder_module": "conformer",
        "kernel_size": 7, "attention_type": "RelPosMHAXL", "normalize_before": True}, _heard
    yield "transformer-enhancement", "transformer.TransformerSE.CNNTransformerSE", {"d_model": 32, "output_size": 20,
        "nhead": 4, "num_layers": 2, "d_ffn": 64}, values(20, 32, along=0)
    lm = {"d_model": 32, "nhead": 4, "num_encoder_layers": 2, "d_ffn": 64, "vocab": 100}
    yield "transformer-lm", "transformer.TransformerLM.TransformerLM", lm, tokens(12, name="src")
    yield "rnn-lm", "RNNLM.RNNLM", {"output_neurons": 40, "embedding_dim": 32, "rnn_neurons": 32,
        "dnn_neurons": 32}, tokens(12, 40, name="x")
    yield "diffwave", "DiffWave.DiffWave", {"input_channels": 16, "residual_layers": 4, "residual_channels": 16,
        "dilation_cycle_length": 2, "total_steps": 10}, _diffused


# fmt: on
class Built:
    """Builds a class of a module; classes among the settings are given by their full names."""

    def __init__(self, place: str, kind: str, settings: dict[str, Any]) -> None:
        self.place, self.kind, self.settings = place, kind, settings

    def __call__(self) -> nn.Module:
        settings = {name: _looked_up(value) for name, value in self.settings.items()}
        return getattr(import_module(self.place), self.kind)(**settings)


def _looked_up(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("speechbrain."):
        place, _, name = value.rpartition(".")
        return getattr(import_module(place), name)
    return value


def spectrum(length: int, features: int) -> Example:
    """A spectrum, time before features."""
    return values(length, features, along=0)


def with_lengths(length: int, features: int, *, relative: bool = False) -> Example:
    """A spectrum and the length of each of its texts, in steps or relative to the longest."""

    def example(batch: int, scale: float) -> Arguments:
        size = round(length * scale)
        lengths = torch.ones(batch) if relative else torch.full((batch,), size)
        return Arguments((torch.randn(batch, size, features), lengths))

    return example


def _spoken(batch: int, scale: float) -> Arguments:
    length, steps = round(8 * scale), round(10 * scale)
    return Arguments(
        (
            torch.randint(0, 40, (batch, length)),
            torch.full((batch,), length),
            torch.randn(batch, 16, steps),
            torch.full((batch,), steps),
        )
    )


def _wave_and_spectrum(batch: int, scale: float) -> Arguments:
    steps = round(10 * scale)
    return Arguments((torch.randn(batch, 1, (steps - 4) * 16), torch.randn(batch, 1, 16, steps)))


def _relative(batch: int, scale: float) -> Arguments:
    length = round(20 * scale)
    return Arguments((torch.randn(batch, length, 32),), {"pos_embs": torch.randn(1, 2 * length - 1, 32)})


def _heard(batch: int, scale: float) -> Arguments:
    source = torch.randn(batch, round(24 * scale), 20)
    return Arguments((source, torch.randint(1, 40, (batch, 8))))


def _diffused(batch: int, scale: float) -> Arguments:
    steps = round(4 * scale)
    return Arguments(
        (torch.randn(batch, 1, steps * 256), torch.tensor([3] * batch), torch.randn(batch, 16, steps)),
    )
