#!/usr/bin/env python3
"""Train the demo model and save it as a Hugging Face Llama checkpoint.

    python make_text.py --out data
    python make_tokenizer.py --data data --out ../../assets/demo
    python train.py --data data --out ../../assets/demo
    python train.py --check ../../assets/demo

Each text of the data becomes <s> text </s>. The model is
trained in float32 on the CPU with fixed seeds and is saved in BF16. --check
loads the saved files with numpy alone and prints what the model writes.
"""

import argparse
import json
import os
import struct
import time

# One thread: slower, but the sums are then always made in the same order.
os.environ.setdefault("RAYON_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import numpy as np
from tokenizers import Tokenizer

from make_text import HELD_OUT
from make_tokenizer import BOS, CONFIG, EOS, PAD, texts

# ---------------------------------------------------------------- the model

def shapes():
    """Tensor names and shapes as Hugging Face stores them: [out, in]."""
    c = CONFIG
    d, m = c["hidden_size"], c["intermediate_size"]
    q, kv = c["num_attention_heads"] * c["head_dim"], c["num_key_value_heads"] * c["head_dim"]
    out = {"model.embed_tokens.weight": (c["vocab_size"], d)}
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        out[p + "input_layernorm.weight"] = (d,)
        out[p + "self_attn.q_proj.weight"] = (q, d)
        out[p + "self_attn.k_proj.weight"] = (kv, d)
        out[p + "self_attn.v_proj.weight"] = (kv, d)
        out[p + "self_attn.o_proj.weight"] = (d, q)
        out[p + "post_attention_layernorm.weight"] = (d,)
        out[p + "mlp.gate_proj.weight"] = (m, d)
        out[p + "mlp.up_proj.weight"] = (m, d)
        out[p + "mlp.down_proj.weight"] = (d, m)
    out["model.norm.weight"] = (d,)
    return out  # tied embeddings: there is no lm_head


def init(seed):
    rng = np.random.default_rng(seed)
    params = {}
    for name, shape in shapes().items():
        if "norm" in name:
            params[name] = np.ones(shape, np.float32)
            continue
        std = 0.04 if "embed" in name else shape[1] ** -0.5
        if "o_proj" in name or "down_proj" in name:
            # Keeps the residual stream from growing with depth.
            std /= (2 * CONFIG["num_hidden_layers"]) ** 0.5
        params[name] = (std * rng.standard_normal(shape)).astype(np.float32)
    return params


def forward(xp, w, ids, block=64):
    """Logits for ids of shape [batch, time]. xp is numpy or jax.numpy."""
    c = CONFIG
    b, t = ids.shape
    heads, kv_heads, hd = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
    group = heads // kv_heads  # query head n reads key/value head n // group

    def rms(x, weight):
        return x / xp.sqrt(xp.mean(x * x, -1, keepdims=True) + c["rms_norm_eps"]) * weight

    # Hugging Face RoPE: channel j of a head is paired with channel j + hd/2.
    freq = c["rope_theta"] ** (-np.arange(0, hd, 2, dtype=np.float64) / hd)
    angle = np.arange(t)[:, None] * freq[None, :]
    cos = np.cos(angle).astype(np.float32)[:, None, :]
    sin = np.sin(angle).astype(np.float32)[:, None, :]

    def rope(x):  # [batch, time, heads, hd]
        a, z = x[..., : hd // 2], x[..., hd // 2:]
        return xp.concatenate([a * cos - z * sin, z * cos + a * sin], -1)

    future = np.where(np.tril(np.ones((t, t), bool)), 0.0, -1e9).astype(np.float32)

    def attend(q, k, v):
        # A block of queries at a time, with no keys after the block: on one
        # core this is twice as fast as the whole square at once.
        k = k.transpose(0, 2, 3, 1)  # [b, kv, hd, t]
        v = v.transpose(0, 2, 1, 3)  # [b, kv, t, hd]
        outs = []
        for start in range(0, t, block):
            end = min(start + block, t)
            n = end - start
            part = q[:, start:end].reshape(b, n, kv_heads, group, hd)
            part = part.transpose(0, 2, 3, 1, 4).reshape(b, kv_heads, group * n, hd)
            s = (part @ k[..., :end]).reshape(b, kv_heads, group, n, end)
            s = s * hd ** -0.5 + future[start:end, :end]
            s = xp.exp(s - s.max(-1, keepdims=True))
            total = s.sum(-1, keepdims=True)
            o = s.reshape(b, kv_heads, group * n, end) @ v[:, :, :end]
            o = o.reshape(b, kv_heads, group, n, hd) / total
            outs.append(o.transpose(0, 3, 1, 2, 4).reshape(b, n, heads * hd))
        return xp.concatenate(outs, 1).reshape(b * t, heads * hd)

    x = w["model.embed_tokens.weight"][ids.reshape(-1)]
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        h = rms(x, w[p + "input_layernorm.weight"])
        q = rope((h @ w[p + "self_attn.q_proj.weight"].T).reshape(b, t, heads, hd))
        k = rope((h @ w[p + "self_attn.k_proj.weight"].T).reshape(b, t, kv_heads, hd))
        v = (h @ w[p + "self_attn.v_proj.weight"].T).reshape(b, t, kv_heads, hd)
        x = x + attend(q, k, v) @ w[p + "self_attn.o_proj.weight"].T

        h = rms(x, w[p + "post_attention_layernorm.weight"])
        gate = h @ w[p + "mlp.gate_proj.weight"].T
        gate = gate / (1 + xp.exp(-gate))  # silu
        x = x + (gate * (h @ w[p + "mlp.up_proj.weight"].T)) @ w[p + "mlp.down_proj.weight"].T
    logits = rms(x, w["model.norm.weight"]) @ w["model.embed_tokens.weight"].T
    return logits.reshape(b, t, -1)


# -------------------------------------------------------- saving and loading

def to_bf16(x):
    """float32 -> the upper 16 bits, rounded to nearest, ties to even."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def save_safetensors(path, params):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    names = sorted(params)
    for name in names:
        size = params[name].size * 2
        header[name] = {"dtype": "BF16", "shape": list(params[name].shape),
                        "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data starts on a multiple of 8
    with open(path + ".part", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            f.write(to_bf16(params[name]).astype("<u2").tobytes())
    os.replace(path + ".part", path)  # a reader never sees half a file


def load_safetensors(path):
    with open(path, "rb") as f:
        raw = f.read()
    n = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + n])
    assert header.pop("__metadata__") == {"format": "pt"}
    out = {}
    for name, info in header.items():
        a, z = info["data_offsets"]
        bits = np.frombuffer(raw[8 + n + a:8 + n + z], "<u2").astype(np.uint32) << 16
        out[name] = bits.view(np.float32).reshape(info["shape"])
    return out


# ----------------------------------------------------------------- training

def weigh(stories, weight):
    """How much each token counts in the loss.

    A rare token that comes back within a story is mostly a part of a name or of
    a thing the story is about. A small model is slow to learn that it must look
    back for these, so they count for more.
    """
    freq = np.bincount(np.concatenate(stories), minlength=CONFIG["vocab_size"])
    rare = freq < 0.004 * freq.sum()
    out = []
    for story in stories:
        first = np.zeros(len(story), bool)
        first[np.unique(story, return_index=True)[1]] = True
        out.append(np.where(rare[story] & ~first, weight, 1.0).astype(np.float32))
    return out


def alone(stories, weights, length, batch, rng):
    """Endless batches with one padded story in each row."""
    ids = np.full((len(stories), length + 1), PAD, np.int32)
    wts = np.zeros((len(stories), length + 1), np.float32)
    for i, (s, w) in enumerate(zip(stories, weights)):
        n = min(len(s), length + 1)
        ids[i, :n], wts[i, :n] = s[:n], w[:n]
    while True:
        order = rng.permutation(len(stories))
        for i in range(0, len(order) - batch + 1, batch):
            yield ids[order[i:i + batch]], wts[order[i:i + batch], 1:]


def packed(stories, weights, length, batch, rng):
    """Endless batches cut from the shuffled stories, one after the other."""
    while True:
        order = rng.permutation(len(stories))
        ids = np.concatenate([stories[i] for i in order])
        wts = np.concatenate([weights[i] for i in order])
        starts = rng.permutation((len(ids) - 1) // length) * length
        for i in range(0, len(starts) - batch + 1, batch):
            # One token more than length: the last one is only a target.
            spans = [slice(s, s + length + 1) for s in starts[i:i + batch]]
            yield np.stack([ids[s] for s in spans]), np.stack([wts[s] for s in spans])[:, 1:]


def train(args):
    import jax
    import jax.numpy as jnp
    import optax

    lines = texts(args.data)
    tok = Tokenizer.from_file(os.path.join(args.out, "tokenizer.json"))
    # encode() puts <s> in front; </s> is added here.
    stories = [np.array(e.ids + [EOS], np.int32) for e in tok.encode_batch(lines)]
    weights = weigh(stories, args.repeat_weight)
    held, stories = stories[:HELD_OUT], stories[HELD_OUT:]
    weights = weights[HELD_OUT:]
    params = jax.tree.map(jnp.asarray, init(args.seed))
    print(f"{sum(x.size for x in params.values())} parameters, {len(stories)} stories, "
          f"{sum(map(len, stories))} tokens", flush=True)

    schedule = optax.warmup_cosine_decay_schedule(
        0.0, args.lr, min(200, args.steps // 4), args.steps, args.lr * 0.02)
    decay = {name: p.ndim == 2 for name, p in params.items()}  # not the norms
    opt = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(schedule, b1=0.9, b2=0.98, weight_decay=0.1, mask=decay))
    state = opt.init(params)

    def loss_fn(p, ids, wts):
        logits = forward(jnp, p, ids[:, :-1])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, ids[:, 1:])
        return (losses * wts).sum() / wts.sum()

    def step(p, state, ids, wts):
        loss, grad = jax.value_and_grad(loss_fn)(p, ids, wts)
        update, state = opt.update(grad, state, p)
        return optax.apply_updates(p, update), state, loss

    step = jax.jit(step, donate_argnums=(0, 1))  # update in place
    loss_of = jax.jit(loss_fn)

    # Mostly one story in each row, so that names are looked up in the right
    # story. Towards the end some rows fill the whole context, so that every
    # position up to max_position_embeddings has been trained.
    rng = np.random.default_rng(args.seed)
    full = CONFIG["max_position_embeddings"]
    short = alone(stories, weights, 192, args.batch, rng)
    long = packed(stories, weights, full, 2, rng)
    # The held-out loss is the plain mean over the tokens of whole stories.
    flat = [np.ones(len(s), np.float32) for s in held]
    probe = next(alone(held, flat, 320, len(held), np.random.default_rng(0)))

    start, recent = time.time(), []
    for i in range(1, args.steps + 1):
        use_long = i > 0.7 * args.steps and i % 5 == 0
        params, state, loss = step(params, state, *next(long if use_long else short))
        recent.append(loss)
        if i % 100 == 0 or i == args.steps:
            print(f"step {i}  weighted loss {np.mean(jax.device_get(recent)):.4f}  "
                  f"{(time.time() - start) / i:.3f} s/step", flush=True)
            recent = []
        if i % args.save_every == 0 or i == args.steps:
            save_safetensors(os.path.join(args.out, "model.safetensors"), jax.device_get(params))
            print(f"step {i}  held-out loss {loss_of(params, *probe):.4f}  saved", flush=True)
    saved = load_safetensors(os.path.join(args.out, "model.safetensors"))
    saved = jax.tree.map(jnp.asarray, saved)
    print(f"held-out loss of the saved BF16 weights {loss_of(saved, *probe):.4f}  "
          f"({time.time() - start:.0f} s)")


# ----------------------------------------------------------------- checking

def complete(w, tok, text, count):
    """Greedy continuation. encode() adds <s> itself."""
    ids = tok.encode(text).ids
    for _ in range(count):
        ids.append(int(forward(np, w, np.array([ids]))[0, -1].argmax()))
        if ids[-1] == EOS:
            break
    return tok.decode(ids, skip_special_tokens=False)


def check(folder):
    w = load_safetensors(os.path.join(folder, "model.safetensors"))
    assert {k: v.shape for k, v in w.items()} == shapes()
    assert all(np.isfinite(v).all() for v in w.values())
    tok = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    for text in ("The little rooster crowed.", "  two  spaces\n\ttab", "naïve café 日本 🐓", "a <b> c"):
        assert tok.decode(tok.encode(text).ids) == text, text
    assert tok.encode("x").ids[0] == BOS
    for prompt in ("Once upon a time", "The little rooster", "It was raining", "One morning, Mara",
                   "<|user|>Tell me a story about a fox and a boat.<|assistant|>",
                   "<|user|>Hello!<|assistant|>"):
        print(complete(w, tok, prompt, 120), "\n")


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--data", default="data", help="the folder with the data")
    args.add_argument("--out", default="../../assets/demo")
    args.add_argument("--steps", type=int, default=5600)
    args.add_argument("--batch", type=int, default=6, help="stories in a batch")
    args.add_argument("--lr", type=float, default=3e-3)
    args.add_argument("--repeat-weight", type=float, default=4.0,
                      help="weight in the loss of rare tokens that come back in a story")
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--save-every", type=int, default=400)
    args.add_argument("--check", metavar="FOLDER", help="only load this model and let it write")
    args = args.parse_args()
    check(args.check) if args.check else train(args)


if __name__ == "__main__":
    main()
