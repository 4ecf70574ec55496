"""Networks for text, of transformers."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from tests.networks.libraries.network import Arguments, Example, Network, tokens, words

LIBRARY = "transformers"
VOCABULARY = 100
PLAIN = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""Sizes under the names that most configurations have."""
GROUPED = {**PLAIN, "num_key_value_heads": 2, "use_cache": False}
"""Decoders whose heads of queries share heads of keys and values."""
PAIRED = {
    "vocab_size": VOCABULARY,
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "use_cache": False,
}
"""An encoder and a decoder."""


# fmt: off
def networks() -> Iterator[Network]:
    """Encoders, decoders, and both in one."""
    encoders: dict[str, tuple[str, str, dict[str, Any]]] = {
        "albert": ("Albert", "ForSequenceClassification", {**PLAIN, "embedding_size": 32}),
        "bert": ("Bert", "ForSequenceClassification", PLAIN),
        "bert-plain": ("Bert", "Model", PLAIN),
        "bert-masked-lm": ("Bert", "ForMaskedLM", PLAIN),
        "canine": ("Canine", "ForSequenceClassification", {**PLAIN, "num_hash_buckets": 64,
            "local_transformer_stride": 16}),
        "convbert": ("ConvBert", "ForSequenceClassification", {**PLAIN, "embedding_size": 32}),
        "deberta": ("Deberta", "ForSequenceClassification", {**PLAIN, "relative_attention": True,
            "pos_att_type": ["c2p", "p2c"]}),
        "deberta-v2": ("DebertaV2", "ForSequenceClassification", {**PLAIN, "relative_attention": True,
            "pos_att_type": ["c2p", "p2c"]}),
        "distilbert": ("DistilBert", "ForSequenceClassification", {"vocab_size": VOCABULARY, "dim": 64, "n_layers": 2,
            "n_heads": 4, "hidden_dim": 128}),
        "esm": ("Esm", "ForSequenceClassification", {**PLAIN, "position_embedding_type": "rotary", "mask_token_id": 4}),
        "fnet": ("FNet", "ForSequenceClassification", PLAIN),
        "funnel": ("Funnel", "ForSequenceClassification", {"vocab_size": VOCABULARY, "d_model": 64, "n_head": 4,
            "d_head": 16, "d_inner": 128, "block_sizes": [1, 1], "num_decoder_layers": 1}),
        "longformer": ("Longformer", "ForSequenceClassification", {**PLAIN, "attention_window": [8, 8]}),
        "mpnet": ("MPNet", "ForSequenceClassification", PLAIN),
        "mobilebert": ("MobileBert", "ForSequenceClassification", {**PLAIN, "embedding_size": 32,
            "intra_bottleneck_size": 32}),
        "modernbert": ("ModernBert", "ForSequenceClassification", {**PLAIN, "cls_token_id": 1, "sep_token_id": 2,
            "global_attn_every_n_layers": 2}),
        "squeezebert": ("SqueezeBert", "ForSequenceClassification", {**PLAIN, "embedding_size": 64}),
        "xlnet": ("XLNet", "ForSequenceClassification", {"vocab_size": VOCABULARY, "d_model": 64, "n_layer": 2,
            "n_head": 4, "d_inner": 128}),
    }
    decoders: dict[str, tuple[str, str, dict[str, Any]]] = {
        "bloom": ("Bloom", "ForCausalLM", {"vocab_size": VOCABULARY, "hidden_size": 64, "n_layer": 2, "n_head": 4,
            "use_cache": False}),
        "falcon": ("Falcon", "ForCausalLM", {"vocab_size": VOCABULARY, "hidden_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "use_cache": False}),
        "gemma2": ("Gemma2", "ForCausalLM", {**GROUPED, "head_dim": 16}),
        "gpt-bigcode": ("GPTBigCode", "ForCausalLM", {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": 2,
            "n_head": 4, "n_positions": 64, "use_cache": False}),
        "gpt-neo": ("GPTNeo", "ForCausalLM", {"vocab_size": VOCABULARY, "hidden_size": 64, "num_layers": 2,
            "num_heads": 4, "attention_types": [[["global", "local"], 1]], "max_position_embeddings": 64,
            "use_cache": False}),
        "gpt-neox": ("GPTNeoX", "ForCausalLM", {**PLAIN, "use_cache": False}),
        "gpt2": ("GPT2", "LMHeadModel", {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": 2, "n_head": 4,
            "n_positions": 64, "use_cache": False}),
        "gpt2-cache": ("GPT2", "LMHeadModel", {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": 2, "n_head": 4,
            "n_positions": 64}),
        "gptj": ("GPTJ", "ForCausalLM", {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": 2, "n_head": 4,
            "n_positions": 64, "rotary_dim": 8, "use_cache": False}),
        "llama": ("Llama", "ForCausalLM", GROUPED),
        "llama-cache": ("Llama", "ForCausalLM", {**GROUPED, "use_cache": True}),
        "mamba": ("Mamba", "ForCausalLM", {"vocab_size": VOCABULARY, "hidden_size": 64, "num_hidden_layers": 2,
            "state_size": 8, "use_cache": False}),
        "mixtral": ("Mixtral", "ForCausalLM", {**GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2}),
        "opt": ("OPT", "ForCausalLM", {**PLAIN, "ffn_dim": 128, "word_embed_proj_dim": 64, "use_cache": False}),
        "phi": ("Phi", "ForCausalLM", {**PLAIN, "use_cache": False}),
        "qwen2": ("Qwen2", "ForCausalLM", GROUPED),
        "qwen2-moe": ("Qwen2Moe", "ForCausalLM", {**GROUPED, "moe_intermediate_size": 32,
            "shared_expert_intermediate_size": 64, "num_experts": 4, "num_experts_per_tok": 2}),
    }
    t5 = {"vocab_size": VOCABULARY, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_decoder_layers": 2,
        "num_heads": 4}
    pairs: dict[str, tuple[str, str, dict[str, Any]]] = {
        "bart": ("Bart", "ForConditionalGeneration", PAIRED),
        "prophetnet": ("ProphetNet", "ForConditionalGeneration", {"vocab_size": VOCABULARY, "hidden_size": 64,
            "num_encoder_layers": 2, "num_decoder_layers": 2, "num_encoder_attention_heads": 4,
            "num_decoder_attention_heads": 4, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128,
            "max_position_embeddings": 64, "use_cache": False}),
        "switch-transformers": ("SwitchTransformers", "ForConditionalGeneration", {**t5, "num_experts": 4,
            "use_cache": False}),
        "t5": ("T5", "ForConditionalGeneration", {**t5, "use_cache": False}),
    }
    for name, (family, head, settings) in {**encoders, **decoders}.items():
        length = 32 if name in ("canine", "longformer") else 12
        yield Network(LIBRARY, name, TransformersModel(family, head, settings), tokens(length, VOCABULARY))
    for name, (family, head, settings) in pairs.items():
        example = tokens(12, VOCABULARY) if name == "t5-encoder" else source_and_target(12)
        yield Network(LIBRARY, name, TransformersModel(family, head, settings), example)


# fmt: on
class TransformersModel:
    """Builds a model class of transformers from its configuration class, and configurations within configurations."""

    def __init__(self, family: str, head: str, settings: dict[str, Any]) -> None:
        self.family, self.head, self.settings = family, head, settings

    def __call__(self) -> nn.Module:
        import transformers

        def made(family: str, settings: dict[str, Any]) -> Any:
            inner = {name: made(*value) if isinstance(value, tuple) else value for name, value in settings.items()}
            return getattr(transformers, f"{family}Config")(**inner)

        return getattr(transformers, f"{self.family}{self.head}")(made(self.family, self.settings))


def source_and_target(length: int) -> Example:
    """Two texts: the one that is read and the one that is written."""

    def example(batch: int, scale: float) -> Arguments:
        source = words(batch, round(length * scale), VOCABULARY)
        return Arguments((), {"input_ids": source, "decoder_input_ids": words(batch, 8, VOCABULARY)})

    return example
