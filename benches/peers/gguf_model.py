"""Writes a BF16 model of the Llama family with a GPT-2 tokenizer as a GGUF file for llama.cpp."""

import json
import struct

import gguf
import numpy

NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OUTSIDE = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4


def tensors(path):
    """Names and 16-bit words of a safetensors file's tensors, all of which must be BF16."""
    data = numpy.memmap(path, numpy.uint8, "r")
    (length,) = struct.unpack("<Q", data[:8].tobytes())
    header = json.loads(data[8 : 8 + length].tobytes())
    header.pop("__metadata__", None)
    for name, entry in header.items():
        if entry["dtype"] != "BF16":
            raise SystemExit(f"{path}: {name} is {entry['dtype']}; only BF16 is compared")
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        yield name, data[start:end].view(numpy.uint16).reshape(entry["shape"])


def name_of(name):
    """What llama.cpp calls a tensor."""
    if name in OUTSIDE:
        return OUTSIDE[name]
    layer, part = name.removeprefix("model.layers.").removesuffix(".weight").split(".", 1)
    return f"blk.{layer}.{NAMES[part]}.weight"


def interleaved(words, heads):
    """Rows of a query or key matrix in the order in which llama.cpp rotates them: pairs side by side."""
    rows, cols = words.shape
    return words.reshape(heads, 2, rows // heads // 2, cols).swapaxes(1, 2).reshape(rows, cols)


def write(folder, output):
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(output, "llama")
    add_config(writer, config)
    add_tokenizer(writer, config, json.loads((folder / "tokenizer.json").read_text()))
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for name, words in tensors(folder / "model.safetensors"):
        if words.ndim == 1:
            # llama.cpp wants norms as F32, which is exact.
            writer.add_tensor(name_of(name), (words.astype(numpy.uint32) << 16).view(numpy.float32))
            continue
        part = name.removesuffix(".weight").rsplit(".", 1)[-1]
        words = interleaved(words, heads[part]) if part in heads else words
        octets = numpy.ascontiguousarray(words).view(numpy.uint8)
        writer.add_tensor(name_of(name), octets, raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_config(writer, config):
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_rope_dimension_count(head_dim)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)


def add_tokenizer(writer, config, tokenizer):
    ids = {token: id for token, id in tokenizer["model"]["vocab"].items()}
    special = {}
    for token in tokenizer["added_tokens"]:
        ids[token["content"]] = token["id"]
        special[token["id"]] = CONTROL if token["special"] else USER_DEFINED
    by_id = {id: token for token, id in ids.items()}
    size = config["vocab_size"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([by_id.get(id, f"[unused {id}]") for id in range(size)])
    writer.add_token_types([special.get(id, NORMAL if id in by_id else CONTROL) for id in range(size)])
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    for key, add in [("bos_token_id", writer.add_bos_token_id), ("eos_token_id", writer.add_eos_token_id)]:
        if isinstance(config.get(key), int):
            add(config[key])
    writer.add_add_bos_token(False)
