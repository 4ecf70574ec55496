"""Networks for sound, series of numbers and the like, of transformers."""

from collections.abc import Iterator
from typing import Any

import torch

from tests.networks.libraries.network import Arguments, Example, Network, values
from tests.networks.libraries.transformers_text import LIBRARY, PAIRED, PLAIN, TransformersModel

WAVE = {
    **PLAIN,
    "vocab_size": 32,
    "conv_dim": [32, 32, 32],
    "conv_stride": [5, 2, 2],
    "conv_kernel": [10, 3, 3],
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "mask_time_prob": 0.0,
    "layerdrop": 0.0,
    "apply_spec_augment": False,
}
"""Convolutions over samples, then a transformer."""
SERIES = {
    "prediction_length": 4,
    "context_length": 8,
    "lags_sequence": [1, 2],
    "num_time_features": 1,
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "scaling": False,
    "use_cache": False,
}


# fmt: off
def networks() -> Iterator[Network]:
    """Speech from samples and from spectra, codecs, and forecasts."""
    samples = {
        "sew": ("SEW", "ForCTC", {**WAVE, "squeeze_factor": 2}),
        "wav2vec2": ("Wav2Vec2", "ForCTC", WAVE),
        "wav2vec2-conformer": ("Wav2Vec2Conformer", "ForCTC", {**WAVE, "conv_depthwise_kernel_size": 7,
            "position_embeddings_type": "relative"}),
        "wavlm": ("WavLM", "ForCTC", WAVE),
    }
    for name, (family, head, settings) in samples.items():
        example = values(800, along=0, name="input_values")
        yield Network(LIBRARY, name, TransformersModel(family, head, settings), example)
    codecs: dict[str, tuple[str, str, dict[str, Any]]] = {
        "dac": ("Dac", "Model", {"encoder_hidden_size": 16, "downsampling_ratios": [2, 4], "decoder_hidden_size": 64,
            "upsampling_ratios": [4, 2], "n_codebooks": 2, "codebook_size": 16, "codebook_dim": 4}),
        "encodec": ("Encodec", "Model", {"num_filters": 8, "upsampling_ratios": [4, 2], "hidden_size": 32,
            "codebook_size": 16, "codebook_dim": 32, "num_lstm_layers": 1, "target_bandwidths": [24.0]}),
    }
    for name, (family, head, settings) in codecs.items():
        example = values(1, 640, along=1, name="input_values")
        yield Network(LIBRARY, name, TransformersModel(family, head, settings), example)
    spectra = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
        "max_length": 64, "num_mel_bins": 32}
    ast = TransformersModel("AST", "ForAudioClassification", spectra)
    yield Network(LIBRARY, "audio-spectrogram", ast, values(64, 32, name="input_values"))
    whisper = {
        **PAIRED,
        "num_mel_bins": 32,
        "max_source_positions": 32,
        "max_target_positions": 32,
        "suppress_tokens": [],
    }
    built = TransformersModel("Whisper", "ForConditionalGeneration", {**whisper, "pad_token_id": 0})
    yield Network(LIBRARY, "whisper", built, sound_and_text((32, 64), "input_features"))
    built = TransformersModel("Whisper", "ForAudioClassification", whisper)
    yield Network(LIBRARY, "whisper-classifier", built, values(32, 64, name="input_features"))
    speech = {**PAIRED, "input_feat_per_channel": 32, "conv_channels": 64, "max_source_positions": 64,
        "max_target_positions": 64}
    built = TransformersModel("Speech2Text", "ForConditionalGeneration", speech)
    yield Network(LIBRARY, "speech-to-text", built, sound_and_text((64, 32), "input_features"))
    for name, family in (("autoformer", "Autoformer"), ("informer", "Informer"), ("time-series-transformer",
        "TimeSeriesTransformer")):
        past = 8 + (7 if family == "Autoformer" else 2)
        lags = {"lags_sequence": [1, 2, 3, 4, 5, 6, 7], "label_length": 4} if family == "Autoformer" else {}
        yield Network(LIBRARY, name, TransformersModel(family, "ForPrediction", {**SERIES, **lags}), series(past, 4))
    patches = {"num_input_channels": 3, "context_length": 32, "patch_length": 8, "prediction_length": 8}
    patchtst = {**patches, "patch_stride": 8, "d_model": 32, "num_attention_heads": 4, "num_hidden_layers": 2,
        "ffn_dim": 64}
    built = TransformersModel("PatchTST", "ForPrediction", {**patchtst, "loss": "mse"})
    yield Network(LIBRARY, "patchtst", built, values(32, 3, name="past_values"))
    mixer = {**patches, "patch_stride": 8, "d_model": 16, "num_layers": 2, "loss": "mse"}
    built = TransformersModel("PatchTSMixer", "ForPrediction", mixer)
    yield Network(LIBRARY, "patchtsmixer", built, values(32, 3, name="past_values"))


# fmt: on
def sound_and_text(shape: tuple[int, int], name: str) -> Example:
    """A spectrum and the text that is written so far."""

    def example(batch: int, scale: float) -> Arguments:
        text = torch.randint(5, 99, (batch, round(8 * scale)))
        return Arguments((), {name: torch.randn(batch, *shape), "decoder_input_ids": text})

    return example


def series(past: int, future: int) -> Example:
    """Numbers over time with one feature of time, past and future."""

    def example(batch: int, scale: float) -> Arguments:
        return Arguments(
            (),
            {
                "past_values": torch.randn(batch, past),
                "past_time_features": torch.randn(batch, past, 1),
                "past_observed_mask": torch.ones(batch, past),
                "future_values": torch.randn(batch, future),
                "future_time_features": torch.randn(batch, future, 1),
            },
        )

    return example
