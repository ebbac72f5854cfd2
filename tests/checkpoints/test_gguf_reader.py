"""The GGUF container: every cut, damage and contradiction is refused in one line that names the file."""

from __future__ import annotations

import itertools
import random
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from nextword.checkpoints.gguf import reader
from nextword.checkpoints.gguf.metadata import GGUFMetadata
from nextword.checkpoints.gguf.reader import read_gguf
from nextword.errors import CheckpointError
from nextword.native import native

VALUES = np.arange(4 * 32, dtype=np.float32).reshape(4, 32)
UINT8, STRING, ARRAY, F32, F16 = 0, 8, 9, 0, 1


@pytest.fixture(autouse=True, params=["with the C++ core", "without it"])
def _strings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strings are read, and what is wrong with them is named, in the same way by both."""
    if request.param == "without it":
        monkeypatch.setattr(reader, "native", None)
    elif native is None:
        pytest.skip("the C++ core was not built")


def written(path: Path) -> bytes:
    """A small file with strings, numbers, and a tensor of each kind of encoding."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_array("tokenizer.ggml.tokens", ["a", "\N{GREEK SMALL LETTER OMEGA}", "ab"])
    writer.add_array("tokenizer.ggml.token_type", [1, 3, 4])
    writer.add_float32("some.number", 0.5)
    writer.add_tensor("single", VALUES)
    writer.add_tensor("half", VALUES.astype(np.float16))
    for kind in (gguf.GGMLQuantizationType.BF16, gguf.GGMLQuantizationType.Q8_0):
        writer.add_tensor(kind.name, gguf.quants.quantize(VALUES, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def text(value: bytes) -> bytes:
    """A string as the container has it."""
    return struct.pack("<Q", len(value)) + value


def entry(key: bytes, kind: int, value: bytes) -> bytes:
    """A metadata entry."""
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: bytes, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    """The entry of a tensor; the shape in the order of the file."""
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def container(*, entries: tuple[bytes, ...] = (), tensors: tuple[bytes, ...] = (), version: int = 3) -> bytes:
    """A whole file with 256 bytes for tensors."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(entries)) + b"".join(entries) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + bytes(256)


def refusal(path: Path, content: bytes) -> str:
    """What the reader says of this content; always one printable line with the path first."""
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_gguf(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    return message


def test_each_encoding_keeps_its_layout(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    written(path)
    file = read_gguf(path)
    tokens = GGUFMetadata(file.metadata, path).texts("tokenizer.ggml.tokens")
    assert tokens == ["a", "\N{GREEK SMALL LETTER OMEGA}", "ab"]
    assert file.metadata["tokenizer.ggml.token_type"] == [1, 3, 4]
    assert file.metadata["some.number"] == 0.5
    for name, dtype in (("single", "F32"), ("half", "F16"), ("BF16", "BF16")):
        assert (file.tensors[name].dtype, file.tensors[name].shape) == (dtype, (4, 32))
        assert np.array_equal(file.tensors[name].to_float32(), VALUES)
    quantised = file.tensors["Q8_0"]
    assert (quantised.shape, quantised.data.shape) == ((4, 32), (4, 34))
    assert quantised.data.dtype == np.dtype(np.uint8)
    assert np.abs(quantised.to_float32() - VALUES).max() < 1


def test_a_file_of_version_2_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(container(tensors=(tensor(b"w", (4, 2), F32, 0),), version=2))
    assert read_gguf(path).tensors["w"].shape == (2, 4)


def test_tensors_lie_in_any_order_as_far_apart_as_the_alignment_asks(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    alignment = entry(b"general.alignment", 4, struct.pack("<I", 64))  # uint32
    head = container(entries=(alignment,), tensors=(tensor(b"w", (8,), F32, 64), tensor(b"v", (3,), F32, 0)))[:-256]
    values = np.arange(24, dtype=np.float32)
    path.write_bytes(head + bytes(-len(head) % 64) + values.tobytes())
    tensors = read_gguf(path).tensors
    assert tensors["v"].data.tolist() == [0, 1, 2]
    assert tensors["w"].data.tolist() == [16, 17, 18, 19, 20, 21, 22, 23]


def test_a_wrong_type_that_leaves_a_gap_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    whole = written(path)
    head, name, tail = whole.partition(b"single")
    as_float16 = head + name + tail[:20] + struct.pack("<I", F16) + tail[24:]
    assert refusal(path, as_float16).endswith(
        "tensor 'half': offset 512, not 256, where those before it end; the file is damaged or its types are wrong"
    )


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.gguf")
    # The last tensor is padded to the alignment; without that padding nothing is lost.
    last_needed = len(whole) - 32
    for length in [*range(0, last_needed, 3), last_needed]:
        refusal(tmp_path / "cut.gguf", whole[:length])


def test_flipped_bytes_give_a_refusal_or_a_file(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.gguf")
    path = tmp_path / "flipped.gguf"
    draw = random.Random(20)
    for _ in range(2000):
        damaged = bytearray(whole)
        for _ in range(draw.choice((1, 1, 1, 4))):
            damaged[draw.randrange(len(damaged) * 2 // 3)] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            read_gguf(path)
        except CheckpointError as error:
            assert str(error).startswith(f"{path}: "), str(error)  # noqa: PT017
            assert str(error).isprintable(), str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"GGML" + container()[4:], "begins with"),
        (container(version=1), "version 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**62) + bytes(64), "metadata count"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**62, 0) + bytes(64), "tensor count"),
        (container(entries=(entry(b"k", STRING, struct.pack("<Q", 2**63)),)), "'k'"),
        (container(entries=(entry(b"k", ARRAY, struct.pack("<IQ", UINT8, 2**63)),)), "'k'"),
        (container(entries=(entry(b"k", ARRAY, struct.pack("<IQ", STRING, 2**63)),)), "'k'"),
        (container(entries=(entry(b"k", ARRAY, struct.pack("<IQ", ARRAY, 1)),)), "'k'"),
        (container(entries=(entry(b"k", 99, b""),)), "type 99"),
        (container(entries=(entry(b"k\n\x1b[2J", 99, b""),)), r"'k\n\x1b[2J'"),
        (container(entries=(entry(b"k", STRING, text(b"\xff")),)), "UTF-8"),
        (container(entries=(entry(b"k", ARRAY, struct.pack("<IQ", STRING, 2) + text(b"a") + text(b"\xff")),)), "UTF-8"),
        (container(entries=(entry(b"k", UINT8, b"1"), entry(b"k", UINT8, b"1"))), "appears twice"),
        (container(entries=(entry(b"general.alignment", UINT8, b"\0"),)), "general.alignment"),
        (container(tensors=(tensor(b"w", (8,), F32, 0), tensor(b"w", (8,), F32, 32))), "'w' appears twice"),
        (container(tensors=(tensor(b"v", (9,), F32, 0), tensor(b"w", (8,), F32, 32))), "'w'"),
        (container(tensors=(tensor(b"w", (65,), F32, 0),)), "past the end"),
        (container(tensors=(tensor(b"w", (8,), F32, 2**64 - 32),)), f"offset {2**64 - 32}, not 0"),
        (container(tensors=(tensor(b"w", (8,), F32, 32),)), "offset 32, not 0"),
        (container(tensors=(tensor(b"v", (8,), F16, 0), tensor(b"w", (8,), F32, 64))), "'w': offset 64, not 32"),
        (container(tensors=(tensor(b"v", (9,), F32, 0), tensor(b"w", (8,), F32, 36))), "'w': offset 36, not 64"),
        (container(tensors=(tensor(b"w", (2**63, 2**63), F16, 0),)), "past the end"),
        (container(tensors=(tensor(b"w", (8,), 250, 0),)), "unknown type 250"),
        (container(tensors=(tensor(b"w", (33,), int(gguf.GGMLQuantizationType.Q8_0), 0),)), "Q8_0"),
        (container(tensors=(tensor(b"w", (8, 0), F32, 0),)), "'w'"),
        (container(tensors=(tensor(b"w", (), F32, 0),)), "0 dimensions"),
        (container(tensors=(tensor(b"w\n", (1,) * 5, F32, 0),)), r"'w\n' has 5 dimensions"),
    ],
)
def test_what_is_wrong_is_named(content: bytes, named: str, tmp_path: Path) -> None:
    assert named in refusal(tmp_path / "x.gguf", content)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.gguf: cannot be read"):
        read_gguf(tmp_path / "none.gguf")


EDGES = bytes.fromhex("00 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 ff")
"""First and last bytes of each kind, in UTF-8."""


def test_strings_are_checked_as_python_decodes_them() -> None:
    core = pytest.importorskip("nextword._native")
    for length in (1, 2, 3, 4):
        for values in itertools.product(EDGES, repeat=length):
            string = bytes(values)
            data = memoryview(text(string))
            try:
                string.decode()
            except UnicodeDecodeError:
                with pytest.raises(ValueError, match="a string is not UTF-8"):
                    core.skip_strings(data, 0, 1)
            else:
                assert core.skip_strings(data, 0, 1) == len(data)
