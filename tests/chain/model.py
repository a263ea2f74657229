"""Writes a language model that is as small as one can be, with random weights, for llama.cpp: `model.py FILE`.

It knows some words and all bytes; what it says are words, of which none follows from anything.
"""

import sys

import gguf
import numpy as np

WORDS = "one two three four five six seven eight nine ten red green blue cat dog sun sea sky tree stone".split()
WIDTH, INNER, HEADS, BLOCKS, CONTEXT = 32, 64, 2, 1, 512

tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + [f"▁{word}" for word in WORDS]
kinds = [2, 3, 3] + [6] * 256 + [1] * len(WORDS)  # unknown, control, byte, normal
random = np.random.default_rng(7)


def weights(*shape):
    return random.normal(0, 0.5, shape).astype(np.float32)


writer = gguf.GGUFWriter(sys.argv[1], "llama")
writer.add_context_length(CONTEXT)
writer.add_embedding_length(WIDTH)
writer.add_feed_forward_length(INNER)
writer.add_block_count(BLOCKS)
writer.add_head_count(HEADS)
writer.add_head_count_kv(HEADS)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_rope_dimension_count(WIDTH // HEADS)
writer.add_vocab_size(len(tokens))
writer.add_tokenizer_model("llama")
writer.add_token_list(tokens)
writer.add_token_scores([-float(place) for place in range(len(tokens))])
writer.add_token_types(kinds)
writer.add_bos_token_id(1)
writer.add_eos_token_id(2)
writer.add_unk_token_id(0)
writer.add_tensor("token_embd.weight", weights(len(tokens), WIDTH))
writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
# Whatever comes out of the blocks, some word is likelier than every byte, whose score is 0.
last = weights(len(tokens), WIDTH)
last[: len(tokens) - len(WORDS)] = 0
writer.add_tensor("output.weight", last)
for block in range(BLOCKS):
    for name, shape in {
        "attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH, WIDTH), "attn_v": (WIDTH, WIDTH), "attn_output": (WIDTH, WIDTH),
        "ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH), "ffn_down": (WIDTH, INNER),
    }.items():  # fmt: skip
        writer.add_tensor(f"blk.{block}.{name}.weight", weights(*shape))
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.{block}.{name}.weight", np.ones(WIDTH, np.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
