#!/usr/bin/env python3
"""Train the tokenizer of the demo model, and write what describes the model.

    python make_tokenizer.py --data data --out model

The data is what make_text.py wrote. The folder gets tokenizer.json,
tokenizer_config.json with the chat template, and config.json. The same data
always gives the same files.
"""

import argparse
import json
import os

# One thread, so that the merges are always made in the same order.
os.environ.setdefault("RAYON_NUM_THREADS", "1")

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

BOS, EOS, PAD = 0, 1, 2
SPECIALS = ["<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>"]

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "head_dim": 16,
    "hidden_act": "silu",
    "hidden_size": 128,
    "initializer_range": 0.02,
    "intermediate_size": 352,
    "max_position_embeddings": 512,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 8,
    "num_hidden_layers": 5,
    "num_key_value_heads": 4,
    "pad_token_id": PAD,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-5,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": 1024,
}

# System messages are left out: the model has never seen one.
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<|user|>' + message['content'] | trim }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ '<|assistant|>' + message['content'] | trim + eos_token }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_tokenizer(lines):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=CONFIG["vocab_size"],
        special_tokens=SPECIALS,
        # All 256 bytes are in the vocabulary, so any UTF-8 text round-trips.
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    plain = (l for l in lines if not l.startswith("<|"))
    tok.train_from_iterator(plain, trainer)
    # Every text starts with <s>, as in training.
    tok.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", BOS)])
    assert tok.get_vocab_size() == CONFIG["vocab_size"]
    return tok


def tokenizer_config():
    return {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "add_bos_token": True,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONFIG["max_position_embeddings"],
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": CHAT_TEMPLATE,
    }


def texts(folder):
    """All texts of the data, in the order in which they were written."""
    lines = []
    for name in ("valid", "train"):
        with open(os.path.join(folder, f"{name}.jsonl"), encoding="utf-8") as file:
            lines.extend(json.loads(line)["text"] for line in file)
    return lines


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--data", default="data", help="the folder with the data")
    args.add_argument("--out", default="model", help="the folder for the files")
    args = args.parse_args()

    os.makedirs(args.out, exist_ok=True)
    train_tokenizer(texts(args.data)).save(os.path.join(args.out, "tokenizer.json"))
    for name, content in (("config", CONFIG), ("tokenizer_config", tokenizer_config())):
        with open(os.path.join(args.out, f"{name}.json"), "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.write("\n")


if __name__ == "__main__":
    main()
