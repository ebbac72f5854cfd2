"""A GGUF file as a list of parts that can be edited, and its bytes, right or wrong."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from tests.checkpoints.tiny_folder import TINY_LLAMA, tiny_weights

UINT32, FLOAT32, BOOL, STRING, ARRAY, UINT64 = 4, 6, 7, 8, 9, 10
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", UINT32: "I", 5: "i", FLOAT32: "f", BOOL: "B", UINT64: "Q", 11: "q", 12: "d"}
_NAMES = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.o_proj": "attn_output"}

Document = dict[str, Any]


def tiny_gguf() -> Document:
    """The tiny Llama: version, entries as [key, type, value], tensors as [name, shape, type, offset], values."""
    tokens = ["<unk>", "<s>", "</s>", *"abcdefg", "▁"]
    entries: list[list[Any]] = [
        ["general.architecture", STRING, "llama"],
        ["general.alignment", UINT32, 32],
        ["llama.context_length", UINT32, TINY_LLAMA["max_position_embeddings"]],
        ["llama.embedding_length", UINT32, TINY_LLAMA["hidden_size"]],
        ["llama.feed_forward_length", UINT32, TINY_LLAMA["intermediate_size"]],
        ["llama.block_count", UINT32, TINY_LLAMA["num_hidden_layers"]],
        ["llama.attention.head_count", UINT32, TINY_LLAMA["num_attention_heads"]],
        ["llama.attention.head_count_kv", UINT32, TINY_LLAMA["num_key_value_heads"]],
        ["llama.attention.layer_norm_rms_epsilon", FLOAT32, 1e-5],
        ["llama.rope.freq_base", FLOAT32, 10000.0],
        ["llama.rope.dimension_count", UINT32, 4],
        ["llama.rope.scaling.type", STRING, "linear"],
        ["llama.rope.scaling.factor", FLOAT32, 2.0],
        ["tokenizer.ggml.model", STRING, "llama"],
        ["tokenizer.ggml.pre", STRING, "default"],
        ["tokenizer.ggml.tokens", ARRAY, [STRING, tokens]],
        ["tokenizer.ggml.scores", ARRAY, [FLOAT32, [0.0] * len(tokens)]],
        ["tokenizer.ggml.token_type", ARRAY, [5, [2, 3, 3] + [1] * (len(tokens) - 3)]],
        ["tokenizer.ggml.bos_token_id", UINT32, 1],
        ["tokenizer.ggml.eos_token_id", UINT32, 2],
        ["tokenizer.ggml.add_bos_token", BOOL, 1],
        ["tokenizer.chat_template", STRING, "{% for m in messages %}{{ m['content'] }}{% endfor %}"],
    ]
    tensors: list[list[Any]] = []
    values = b""
    for name, array in tiny_weights().items():
        tensors.append([_gguf_name(name), list(reversed(array.shape)), 0, len(values)])
        values += array.tobytes() + bytes(-array.nbytes % 32)
    return _document(entries, tensors, values)


def tiny_adapter() -> Document:
    """A LoRA adapter of the tiny Llama."""
    entries: list[list[Any]] = [
        ["general.architecture", STRING, "llama"],
        ["general.type", STRING, "adapter"],
        ["adapter.type", STRING, "lora"],
        ["adapter.lora.alpha", FLOAT32, 8.0],
    ]
    values = np.ones(32, np.float32).tobytes()
    tensors = [["blk.0.attn_q.weight.lora_a", [8, 4], 0, 0], ["blk.0.attn_q.weight.lora_b", [4, 8], 0, 128]]
    return _document(entries, tensors, values * 2)


def split_in_two(document: Document) -> list[Document]:
    """The same as the two parts of a split file."""
    tensors = document["tensors"]
    half = len(tensors) // 2
    start = tensors[half][3]
    numbers = [["split.no", 2, 0], ["split.count", 2, 2], ["split.tensors.count", 5, len(tensors)]]
    second = [[name, shape, kind, offset - start] for name, shape, kind, offset in tensors[half:]]
    head = {**document, "entries": document["entries"] + numbers, "tensors": tensors[:half]}
    tail = {**document, "entries": [["split.no", 2, 1], *numbers[1:]], "tensors": second}
    values = document["end"][0]
    return [{**head, "end": [values[:start]]}, {**tail, "end": [values[start:]]}]


def to_bytes(document: Document) -> bytes:
    """Write a document, edited or not; what does not fit its place is written as what comes nearest."""
    entries, tensors = _list(document.get("entries")), _list(document.get("tensors"))
    counts = [*_list(document.get("counts")), None, None]
    given = [len(part) if count is None else count for part, count in zip((tensors, entries), counts, strict=False)]
    head = _text(document.get("magic", ""))[:4].ljust(4, b"G") + _number("I", document.get("version"))
    head += b"".join(_number("Q", count) for count in given)
    head += b"".join(map(_entry, entries)) + b"".join(map(_tensor, tensors))
    end = document.get("end")
    values = [_text(one) for one in _list(end)]
    return head + bytes(-len(head) % 32) + b"".join(values)


def _document(entries: list[list[Any]], tensors: list[list[Any]], values: bytes) -> Document:
    """Entries come first, since edits meet the first places most; `counts`: None for the true ones."""
    parts = {"entries": entries, "tensors": tensors, "end": [values]}
    return {**parts, "counts": [None, None], "version": 3, "magic": "GGUF"}


def _gguf_name(name: str) -> str:
    if name in ("model.embed_tokens.weight", "model.norm.weight"):
        return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}[name]
    _, _, layer, *_ = name.split(".")
    stem = name.removeprefix(f"model.layers.{layer}.").removesuffix(".weight")
    other = stem.replace("self_attn.", "attn_").replace("mlp.", "ffn_").replace("_proj", "")
    return f"blk.{layer}.{_NAMES.get(stem, other)}.weight"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _padded(value: Any, others: list[Any]) -> list[Any]:
    """Return as many items as `others` has, from which those come that the value lacks."""
    items = _list(value)[: len(others)]
    return items + others[len(items) :]


def _text(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


def _string(value: Any) -> bytes:
    text = _text(value)
    return struct.pack("<Q", len(text)) + text


def _number(form: str, value: Any) -> bytes:
    """Pack a number; of what is none its length, of what is out of range the lowest bits."""
    if form in "fd":
        number = float(value) if isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**38) else 7.0
        return struct.pack(f"<{form}", number if form == "d" or not abs(number) > 3e38 else float("inf"))
    size = struct.calcsize(form)
    whole = value if isinstance(value, int) else len(str(value))
    return (whole & (1 << 8 * size) - 1).to_bytes(size, "little")


def _value(kind: Any, value: Any, *, depth: int = 0) -> bytes:
    if kind == ARRAY and isinstance(value, list) and len(value) == 2 and depth < 4:
        inner, items = value[0], _list(value[1])
        head = _number("I", inner) + struct.pack("<Q", len(items))
        return head + b"".join(_value(inner, item, depth=depth + 1) for item in items)
    form = _FORMATS.get(kind) if isinstance(kind, int) else None
    return _string(value) if form is None else _number(form, value)


def _entry(entry: Any) -> bytes:
    key, kind, value = _padded(entry, ["", STRING, ""])
    return _string(key) + _number("I", kind) + _value(kind, value)


def _tensor(tensor: Any) -> bytes:
    name, shape, kind, offset = _padded(tensor, ["", [1], 0, 0])
    sizes = _list(shape)
    packed = _number("I", len(sizes)) + b"".join(_number("Q", size) for size in sizes)
    return _string(name) + packed + _number("I", kind) + _number("Q", offset)
