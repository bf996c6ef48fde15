"""Runs a GGUF file with llama.cpp on the CPU and prints tokens a second as a JSON object.

    executor_worker.py FILE THREADS PROMPT GENERATED RUNS [TEXT]

A prompt of PROMPT random tokens, then GENERATED more, one by one, each with its logits brought to the
caller, RUNS times after one run that is not counted. With TEXT, it instead prints the tokens of the text
and those that are likeliest after it, to see that the file is right.
"""

import json
import random
import statistics
import sys
import time

import llama_cpp


def timed(model, tokens, prompt):
    """Tokens a second of the prompt, and of what follows."""
    model.reset()
    began = time.perf_counter()
    model.eval(tokens[:prompt])
    middle = time.perf_counter()
    for token in tokens[prompt:]:
        model.eval([token])
    end = time.perf_counter()
    return prompt / (middle - began), (len(tokens) - prompt) / (end - middle)


def continued(model, text, count):
    tokens = model.tokenize(text.encode(), add_bos=False)
    text = model.create_completion(tokens, max_tokens=count, temperature=0.0)["choices"][0]["text"]
    return {"prompt_tokens": len(tokens), "text": text}


def main():
    path, threads, prompt, generated, runs = sys.argv[1], *map(int, sys.argv[2:6])
    model = llama_cpp.Llama(
        path, n_ctx=prompt + generated, n_threads=threads, n_threads_batch=threads, n_gpu_layers=0, verbose=False
    )
    if sys.argv[6:]:
        print(json.dumps(continued(model, sys.argv[6], generated)))
        return
    numbers = random.Random(3)
    tokens = [numbers.randrange(model.n_vocab()) for _ in range(prompt + generated)]
    rates = [timed(model, tokens, prompt) for _ in range(runs + 1)][1:]
    prefill, generation = map(statistics.median, zip(*rates))
    print(json.dumps({"prefill": prefill, "generation": generation}))


if __name__ == "__main__":
    main()
