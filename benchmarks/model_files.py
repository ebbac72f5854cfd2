"""One model in the files that each side of the benchmark reads, with the same values as far as the format allows."""

from __future__ import annotations

import shutil
from pathlib import Path

from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, Keys
from gguf.quants import dequantize, quantize

from nextword.checkpoints.model_directory import ModelDirectory
from nextword.checkpoints.open_directory import open_model_directory
from nextword.checkpoints.save_directory import save_model_directory
from nextword.models.config import ModelConfig

FOLDER = Path(__file__).parents[1] / "build" / "bench"
QUANTIZATIONS = {"Q4_0": GGMLQuantizationType.Q4_0, "Q8_0": GGMLQuantizationType.Q8_0}


def model_files(source: Path, folder: Path = FOLDER) -> dict[str, Path]:
    """The path for each kind of weights, made in `folder` from a Q4_1 GGUF file where it is not there yet.

    Nothing is at "int8" where CTranslate2 is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {"Q4_1": source}
    for name, kind in QUANTIZATIONS.items():
        files[name] = folder / f"{source.stem}.{name}.gguf"
        if not files[name].exists():
            _requantize(source, files[name], kind)
    files["bf16"] = folder / f"{source.stem}.bf16"
    if not files["bf16"].exists():
        model = open_model_directory(source)
        save_model_directory(
            files["bf16"], config=model.config, tensors=model.tensors, tokenizer=model.tokenizer, dtype="BF16"
        )
    files["int8"] = folder / f"{source.stem}.int8"
    if not files["int8"].exists():
        _convert_to_ctranslate2(files["bf16"], files["int8"])
    return files


def weight_bytes(model: ModelDirectory) -> int:
    """Return the bytes of the weights that a step reads: all of them, once."""
    return sum(tensor.data.nbytes for tensor in model.tensors.values())


def cache_bytes(config: ModelConfig, group: str) -> int:
    """Return the bytes of keys and values that a step of ours reads for each earlier token.

    They are floats of 16 bits beside bf16 weights, and of 32 beside F16. Beside quantised ones they have 8 bits, and
    scales: a key one of 2 bytes for each 32 dimensions, a value one of 4.
    """
    dims = config.head_dim
    float_bytes = {"bf16": 2, "F16": 4}.get(group.split()[-1])
    of_head = (dims + 2 * -(-dims // 32)) + (dims + 4) if float_bytes is None else 2 * dims * float_bytes
    return config.num_layers * config.num_kv_heads * of_head


def _requantize(source: Path, target: Path, kind: GGMLQuantizationType) -> None:
    """The same file with its Q4_1 matrices rounded to another kind of blocks; the rest, embeddings too, as it is."""
    reader = GGUFReader(source)
    partial = target.with_suffix(".partial")
    writer = GGUFWriter(partial, arch=reader.fields[Keys.General.ARCHITECTURE].contents())
    for field in reader.fields.values():
        if field.name != Keys.General.ARCHITECTURE and not field.name.startswith("GGUF."):
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=field.types[-1])
    for tensor in reader.tensors:
        data, encoding = tensor.data, tensor.tensor_type
        if encoding == GGMLQuantizationType.Q4_1:
            data, encoding = quantize(dequantize(data, encoding), kind), kind
        writer.add_tensor(tensor.name, data, raw_dtype=encoding)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.rename(target)


def _convert_to_ctranslate2(source: Path, target: Path) -> None:
    try:
        from ctranslate2.converters import TransformersConverter
    except ModuleNotFoundError:
        return
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was cut off
    TransformersConverter(str(source)).convert(str(partial), quantization="int8")
    partial.rename(target)
