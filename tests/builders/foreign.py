"""The smallest honest file of every kind that is named and not read, built from literals without the program that writes it."""

from __future__ import annotations

import lzma
import struct
import zlib

from tests.builders.tar_file import TarEntry, tar_bytes
from tests.builders.zip_archive import Entry, zip_bytes


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    found = b""
    while value > 0x7F:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def number(field: int, value: int) -> bytes:
    """A field that is a varint."""
    return varint(field << 3) + varint(value)


def part(field: int, content: bytes) -> bytes:
    """A field that is a text or a message."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def onnx(*, producer: bytes = b"pytorch", weights: int = 64, graph_first: bool = False) -> bytes:
    tensor = number(1, weights // 4) + number(2, 1) + part(8, b"w") + part(9, bytes(weights))
    node = part(1, b"x") + part(1, b"w") + part(2, b"y") + part(4, b"MatMul")
    graph = part(7, part(1, node) + part(2, b"main") + part(5, tensor) + part(11, part(1, b"x")) + part(12, part(1, b"y")))
    opset = part(8, part(1, b"") + number(2, 17))
    made = part(2, producer) + part(3, b"2.1.0") if producer else b""
    return number(1, 8) + (graph + made if graph_first else made + graph) + opset


def onnx_tensor() -> bytes:
    return number(1, 2) + number(1, 3) + number(2, 1) + part(8, b"x") + part(9, bytes(24))


def graph_node(name: bytes, operation: bytes) -> bytes:
    return part(1, part(1, name) + part(2, operation) + part(5, part(1, b"dtype") + part(2, number(6, 1))))


def saved_model() -> bytes:
    about = part(2, part(1, part(1, b"Add"))) + part(4, b"serve") + part(5, b"2.15.0")
    return number(1, 1) + part(2, part(1, about) + part(2, graph_node(b"w", b"VarHandleOp")))


def meta_graph() -> bytes:
    about = part(1, part(5, b"1.15.0")) + part(2, graph_node(b"w", b"VariableV2") + part(4, number(1, 134)))
    return about + part(3, part(1, b"save/Const:0"))


def keras_metadata() -> bytes:
    layer = part(3, b"root.layer-0") + part(4, b"_tf_keras_layer") + part(5, b'{"class_name": "Dense", "config": {}}')
    return part(1, number(2, 0) + part(3, b"root") + part(4, b"_tf_keras_sequential") + part(5, b"{}")) + part(1, number(2, 1) + layer)


def coreml() -> bytes:
    described = part(1, part(1, b"image") + part(3, part(5, b""))) + part(10, part(1, b"label"))
    return number(1, 7) + part(2, described) + part(502, number(1, 1) + part(2, part(1, b"main")))


def sentencepiece() -> bytes:
    pieces = [(b"<unk>", 0.0, 2), (b"<s>", 0.0, 3), (b"\xe2\x96\x81the", -3.25, 1)]
    found = b"".join(
        part(1, part(1, text) + b"\x15" + struct.pack("<f", score) + number(3, kind)) for text, score, kind in pieces
    )
    return found + part(2, number(4, 3)) + part(3, part(1, b"nmt_nfkc"))


def caffe() -> bytes:
    return part(1, b"LeNet") + part(100, part(1, b"conv1") + part(2, b"Convolution") + part(3, b"data") + part(4, b"conv1"))


def old_caffe() -> bytes:
    return part(1, b"CaffeNet") + part(2, part(2, b"data") + part(3, b"conv1") + part(4, b"conv1") + number(5, 4))


def paddle() -> bytes:
    variable = part(1, b"x") + part(2, number(1, 7))
    return part(1, number(1, 0) + number(2, -1) + part(3, variable) + part(4, part(3, b"relu"))) + part(4, number(1, 0))


def paddle_params() -> bytes:
    described = number(1, 5) + number(2, 2)
    return bytes(16) + struct.pack("<I", len(described)) + described + bytes(8)


def tensor_bundle(shards: int = 1) -> bytes:
    header = number(1, shards) + part(3, number(1, 1))
    block = b"\0\0" + bytes([len(header)]) + header + b"\0\x05\x10dense/kernel" + bytes(16)
    return block + bytes(40) + bytes.fromhex("57fb808b247547db")


def leveldb() -> bytes:
    return b"\0\x07\x03key\x01\0\0\0\0\0\0\0value" + bytes(40) + bytes.fromhex("57fb808b247547db")


def hdf5(*, keras: bool, user_block: int = 0) -> bytes:
    attribute = b"\x0c\0\x40\0keras_version\0\0\0" if keras else b"\x0c\0\x40\0units\0\0\0"
    return bytes(user_block) + b"\x89HDF\r\n\x1a\n" + bytes(88) + attribute + bytes(64)


def flax() -> bytes:
    array = b"\x93\x92\x02\x03\xa7float32\xc4\x18" + bytes(24)
    return b"\x82\xa4step\x07\xa6params\x81\xa5dense\x81\xa6kernel\xc7" + bytes([len(array), 1]) + array


def ctranslate2() -> bytes:
    name = b"TransformerSpec\0"
    return struct.pack("<IH", 6, len(name)) + name + struct.pack("<2IH", 7, 12, 5) + b"a/b/\0" + bytes(40)


def coreml_weights() -> bytes:
    return struct.pack("<2I", 1, 2) + bytes(56) + b"\xef\xbe\xad\xde" + struct.pack("<I2Q", 1, 4, 128) + bytes(44)


def mxnet() -> bytes:
    return struct.pack("<3Q", 0x112, 0, 1) + b"\xc9\xfa\x93\xf9" + bytes(40)


def darknet(minor: int = 2) -> bytes:
    return struct.pack("<3I", 0, minor, 5) + bytes(8 if minor == 2 else 4) + struct.pack("<8f", *range(8))


def mnn() -> bytes:
    """A root at 16, its table of three fields at 4."""
    return struct.pack("<I5H2x", 16, 10, 12, 4, 8, 0) + struct.pack("<i2I", 12, 0, 0)


def torch7() -> bytes:
    name = b"nn.Sequential"
    return struct.pack("<2i", 4, 1) + struct.pack("<i", 3) + b"V 1" + struct.pack("<i", len(name)) + name + bytes(9)


def pickled_estimator() -> bytes:
    """What joblib.dump writes of an array: a pickle that is interrupted by its bytes."""
    code = b"\x80\x04\x95\x40\0\0\0\0\0\0\0\x8c\x13joblib.numpy_pickle\x94\x8c\x11NumpyArrayWrapper\x94\x93\x94)\x81\x94}\x94b"
    return code + b"\x03\xff\xff\xff" + bytes(24) + b"."


def event_log() -> bytes:
    event = b"\x09" + struct.pack("<d", 1.7e9) + b"\x1a\x0dbrain.Event:2"
    return struct.pack("<QI", len(event), 0) + event + bytes(4)


def npy() -> bytes:
    about = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", 118) + about.ljust(117) + b"\n" + bytes(48)


def llamafile() -> bytes:
    program = b"MZqFpD='\n\0\x10\0" + bytes(52)
    return zip_bytes([Entry("tiny.Q4_0.gguf", b"GGUF\x03\0\0\0")], prefix=program)


def zipped(*names: str) -> bytes:
    return zip_bytes([Entry(name, b"x") for name in names])


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
OPENVINO = b'<?xml version="1.0"?>\n<net name="main" version="11">\n\t<layers>\n<layer id="0" name="x" type="Parameter"/></layers></net>'
TFJS = b'{"format": "graph-model", "modelTopology": {"node": []}, "weightsManifest": [{"paths": ["group1-shard1of1.bin"], "weights": []}]}'
TOKENIZER = b'{\n  "version": "1.0",\n  "truncation": null,\n  "padding": null,\n  "added_tokens": []\n}'
MANIFEST = b'{"fileFormatVersion": "1.0.0", "itemInfoEntries": {}, "rootModelIdentifier": "7EB6"}'
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x02\x80\0\0\x01\xe0"
WORDS = b"[PAD]\n[unused0]\n[UNK]\n[CLS]\nthe\n##ing\n"

# name of the kind, bytes, name of the file, something that is said of it besides the title
FOREIGN: list[tuple[str, bytes, str, str]] = [
    ("onnx", onnx(), "model.onnx", "made by pytorch 2.1.0, IR version 8, opset 17"),
    ("onnx", onnx(producer=b"", graph_first=True), "model.bin", "IR version 8, opset 17"),
    ("onnx-tensor", onnx_tensor(), "input_0.pb", "2 × 3"),
    ("ort", b"\x20\0\0\0ORTM" + bytes(24), "model.ort", ""),
    ("keras-h5", hdf5(keras=True), "model.h5", ""),
    ("hdf5", hdf5(keras=False), "data.h5", ""),
    ("hdf5", hdf5(keras=False, user_block=512), "data.mat", ""),
    ("keras-zip", zipped("metadata.json", "config.json", "model.weights.h5"), "model.keras", "3 files"),
    ("savedmodel", saved_model(), "saved_model.pb", "TensorFlow 2.15.0"),
    ("savedmodel", zipped("m/saved_model.pb", "m/variables/variables.index"), "m.zip", "2 files"),
    ("graphdef", graph_node(b"x", b"Placeholder") + graph_node(b"y", b"Relu") + part(4, number(1, 1087)), "frozen.pb", ""),
    ("metagraph", meta_graph(), "model.ckpt-7.meta", "TensorFlow 1.15.0"),
    ("keras-metadata", keras_metadata(), "keras_metadata.pb", ""),
    ("tf-checkpoint", tensor_bundle(), "variables.index", "1 data file"),
    ("tf-checkpoint", tensor_bundle(3), "model.ckpt-7.index", "3 data files"),
    ("tflite", b"\x1c\0\0\0TFL3" + bytes(20), "model.tflite", ""),
    ("circle", b"\x1c\0\0\0CIR0" + bytes(20), "model.circle", ""),
    ("tfjs", TFJS, "model.json", ""),
    ("tfjs", b'[{"weights":[{"name":"a","shape":[3],"dtype":"float32"}],"paths":["a.bin"]}]', "a-weights_manifest.json", ""),
    ("flax", flax(), "flax_model.msgpack", ""),
    ("npy", npy(), "array.npy", "<f4, 3 × 4"),
    ("npz", zipped("a.npy", "b.npy"), "arrays.npz", "2 arrays"),
    ("coreml", coreml(), "model.mlmodel", "ML program, specification 7"),
    ("coreml", zipped("n.mlpackage/Manifest.json", "n.mlpackage/Data/com.apple.CoreML/model.mlmodel"), "n.zip", "2 files"),
    ("coreml-weights", coreml_weights(), "weight.bin", "1 tensor"),
    ("coreml-manifest", MANIFEST, "Manifest.json", ""),
    ("whisper-ggml", b"lmgg" + struct.pack("<2I", 51864, 1500) + bytes(40), "ggml-tiny.bin", ""),
    *[("ggml", magic + struct.pack("<2I", 1, 32_000) + bytes(40), "ggml-model-q4_0.bin", "") for magic in (b"lmgg", b"fmgg", b"tjgg", b"algg", b"nsgg")],
    ("llamafile", llamafile(), "tiny.llamafile", "tiny.Q4_0.gguf, 8 bytes"),
    ("ctranslate2", ctranslate2(), "model.bin", "TransformerSpec, 12 variables"),
    ("executorch", b"\x1c\0\0\0ET12eh00" + bytes(20), "model.pte", ""),
    ("torch-flatbuffer", b"\x24\0\0\0PTMF" + bytes(20), "model.ptl", ""),
    ("torch7", torch7(), "model.t7", ""),
    ("torch7", struct.pack("<4i", 3, 1, 2, 2) + struct.pack("<i", 3) + b"net" + bytes(8), "model.t7", ""),
    ("joblib", pickled_estimator(), "model.joblib", ""),
    ("joblib-compressed", zlib.compress(pickled_estimator()), "model.joblib", "zlib"),
    ("joblib-compressed", lzma.compress(pickled_estimator(), format=lzma.FORMAT_ALONE), "model.lzma", "LZMA"),
    ("joblib-compressed", b"ZF0x1a                 " + zlib.compress(pickled_estimator()), "model.z", "before 0.10"),
    ("openvino", OPENVINO, "model.xml", "main"),
    ("openvino", OPENVINO.partition(b"\n")[2], "model.xml", "main"),
    ("paddle", paddle(), "inference.pdmodel", ""),
    ("paddle-params", paddle_params(), "inference.pdiparams", ""),
    ("mxnet", mxnet(), "net-0000.params", ""),
    ("mxnet-symbol", b'{"nodes": [{"op": "null", "name": "data"}], "arg_nodes": [0], "heads": [[0, 0, 0]]}', "net-symbol.json", ""),
    ("caffe", caffe(), "lenet.caffemodel", "LeNet"),
    ("caffe", old_caffe(), "caffenet.caffemodel", "CaffeNet"),
    ("darknet", darknet(), "yolov3.weights", "version 0.2.5"),
    ("darknet", darknet(1), "tiny.weights", "version 0.1.5"),
    ("tensorrt", b"ptrt" + struct.pack("<2I", 0, 24) + bytes(24), "model.engine", ""),
    ("ncnn", b"7767517\n3 3\nInput data 0 1 data\n", "model.param", ""),
    ("ncnn", b"\xdd\x85\x76\x00\x03\0\0\0" + bytes(8), "model.param.bin", ""),
    ("ncnn-data", struct.pack("<I4f", 0x01306B47, 1, 2, 3, 4), "model.bin", ""),
    ("mnn", mnn(), "model.mnn", ""),
    ("rknn", b"RKNN\x01\0\0\0" + bytes(20), "model.rknn", ""),
    ("tvm", struct.pack("<3Q", 0xF7E58D4F05049CB7, 0, 2), "net.params", ""),
    ("fasttext", struct.pack("<2i", 793_712_314, 12) + bytes(20), "cc.en.300.bin", ""),
    ("catboost", b"CBM1\x10\0\0\0" + bytes(16), "model.cbm", ""),
    ("lightgbm", b"tree\nversion=v4\nnum_class=1\n", "model.txt", ""),
    ("xgboost", b'{"learner":{"attributes":{}},"version":[2,0,3]}', "model.json", ""),
    ("xgboost", b"{L\0\0\0\0\0\0\0\x07learner{", "model.ubj", ""),
    ("tokenizer", TOKENIZER, "tokenizer.json", ""),
    ("sentencepiece", sentencepiece(), "tokenizer.model", ""),
    ("tiktoken", b"IQ== 0\nIg== 1\nIw== 2\nJA== 3\n", "tokenizer.model", ""),
    ("merges", b"#version: 0.2\nt h\nth e\n", "merges.txt", ""),
    ("vocabulary", b'{"<unk>": 0, "the": 1, "\\u2581a": 2}', "vocab.json", ""),
    ("vocabulary", WORDS, "vocab.txt", ""),
    ("vocabulary", b"<unk>\t0\n<s>\t0\n\xe2\x96\x81the\t-3.2\n", "sp.vocab", ""),
    ("model-config", b'{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}', "config.json", "LlamaForCausalLM"),
    ("model-config", b'{"peft_type": "LORA", "r": 8}', "adapter_config.json", "LORA"),
    ("keras-config", b'{"module": "keras", "class_name": "Sequential", "config": {}}', "config.json", ""),
    ("shard-index", b'{"metadata": {"total_size": 4}, "weight_map": {"a": "b.bin"}}', "index.json", ""),
    ("notebook", b'{"cells": [], "metadata": {}, "nbformat": 4}', "train.ipynb", ""),
    ("darknet-config", b"# yolo\n[net]\nbatch=1\n[convolutional]\n", "yolov3.cfg", ""),
    ("tf-checkpoint-state", b'model_checkpoint_path: "model.ckpt-7"\n', "checkpoint", ""),
    ("tensorboard", event_log(), "events.out.tfevents.1700000000.host", ""),
    ("json", b'{"a": 1}', "a.json", ""),
    ("json", b'  [{"b": 1}]', "b.json", ""),
    ("lfs-pointer", POINTER, "model.safetensors", "it stands for 12,345 bytes"),
    ("html", b"<!DOCTYPE html>\n<html><body>404</body></html>", "model.pt", ""),
    ("html", b"<!-- cached -->\n<!-- by us --><!DOCTYPE html><html></html>", "model.pth", ""),
    ("html", b"\n <HTML><head></head></HTML>", "model.pt", ""),
    ("html", b"<?xml version='1.0'?>\n<!DOCTYPE html><html/>", "model.pt", ""),
    ("hub-error", b"Entry not found", "model.safetensors", ""),
    ("hub-error", b"Access to model a/b is restricted and you are not in the authorized list.", "model.bin", ""),
    ("hub-error", b'{"error":"Repository not found"}', "model.safetensors", "it says 'Repository not found'"),
    ("hub-error", b'{"detail": ["Not authenticated"]}', "model.bin", "it says 'Not authenticated'"),
    ("hub-error", b'{"message": "Bad credentials", "documentation_url": "https://docs"}', "model.bin", "it says 'Bad credentials'"),
    ("storage-error", b"<?xml version='1.0'?>\n<Error><Code>AccessDenied</Code></Error>", "model.bin", ""),
    ("svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "logo.svg", ""),
    ("settings", b'[[allow]]\nnames = ["shop.Net"]\n', "policy.toml", ""),
    ("settings", b"# ours\n\n[tool.modelscope-cli.scan] # and theirs\r\n\n'fail-on' = \"never\"\n".replace(b"'", b'"'), "pyproject.toml", ""),
    ("settings", b"[metadata]\nname = shop\n", "setup.cfg", ""),
    ("json", b'[\n"a"\n]\n', "list.json", ""),
    ("xml", b"<?xml version='1.0'?><PMML><Header/></PMML>", "model.pmml", ""),
    ("png", PNG, "plot.png", "640 × 480 pixels"),
    ("jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF", "photo.jpg", ""),
    ("gif", b"GIF89a" + bytes(9), "a.gif", ""),
    ("webp", b"RIFF\x10\0\0\0WEBPVP8 ", "a.webp", ""),
    ("tiff", b"II*\0\x08\0\0\0", "a.tif", ""),
    ("wav", b"RIFF\x10\0\0\0WAVEfmt ", "a.wav", ""),
    ("flac", b"fLaC\0\0\0\x22", "a.flac", ""),
    ("ogg", b"OggS\0\x02\0\0", "a.ogg", ""),
    ("mp3", b"ID3\x04\0\0", "a.mp3", ""),
    ("mp4", b"\0\0\0\x20ftypisom", "a.mp4", ""),
    ("pdf", b"%PDF-1.7\n", "paper.pdf", ""),
    ("cosmopolitan", b"MZqFpD='\n\0\x10\0" + bytes(60), "tool.com", ""),
    ("elf", b"\x7fELF\x02\x01\x01" + bytes(9), "lib.so", ""),
    ("pe", b"MZ\x90\0" + bytes(9), "a.exe", ""),
    ("mach-o", b"\xcf\xfa\xed\xfe" + bytes(9), "a.dylib", ""),
    ("java-class", b"\xca\xfe\xba\xbe\0\0\0\x41", "A.class", ""),
    ("wasm", b"\0asm\x01\0\0\0", "a.wasm", ""),
    ("gzip", b"\x1f\x8b\x08\0" + bytes(9), "a", ""),
    ("zstd", b"\x28\xb5\x2f\xfd" + bytes(9), "a", ""),
    ("bzip2", b"BZh91AY&SY\0", "a", ""),
    ("xz", b"\xfd7zXZ\0" + bytes(9), "a", ""),
    ("lz4", b"\x04\x22\x4d\x18" + bytes(9), "a.lz4", ""),
    ("7z", b"7z\xbc\xaf\x27\x1c" + bytes(9), "a.7z", ""),
    ("rar", b"Rar!\x1a\x07" + bytes(9), "a.rar", ""),
    ("sqlite", b"SQLite format 3\0" + bytes(9), "a.db", ""),
    ("leveldb", leveldb(), "000005.ldb", ""),
    ("parquet", b"PAR1\x15\x04\x15" + bytes(9), "a.parquet", ""),
    ("arrow", b"ARROW1\0\0" + bytes(9), "a.arrow", ""),
    ("matlab", b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(90), "a.mat", ""),
    ("script", b"#!/bin/sh\necho hello\n", "run", ""),
    ("python", b'"""A model."""\n\n# weights\nimport torch\n\nclass Net: ...\n', "model.py", ""),
    ("python", b"from __future__ import annotations\n", "model.py", ""),
    ("text", b"accuracy 0.98\nloss 0.1\n", "log.txt", "it begins 'accuracy 0.98'"),
    ("text", "naïve café\n".encode(), "a.txt", "it begins 'naïve café'"),
    ("text", b"[INFO] started\n", "log.txt", "it begins '[INFO] started'"),
    ("text", b"<s> and other words\n", "a.txt", "it begins '<s> and other words'"),
    ("wheel", zipped("a/__init__.py", "a-1.dist-info/WHEEL"), "a-1-py3-none-any.whl", "2 files"),
    ("apk", zipped("AndroidManifest.xml", "classes.dex"), "app.apk", ""),
    ("jar", zipped("META-INF/MANIFEST.MF", "A.class"), "a.jar", ""),
    ("office", zipped("[Content_Types].xml", "word/document.xml"), "a.docx", ""),
    ("source-zip", zipped("repo/", "repo/model.py", "repo/train.py", "repo/README.md"), "repo.zip", "3 files, 2 .py, 1 .md"),
    ("source-zip", tar_bytes([TarEntry("repo/model.py", b"import torch\n")]), "repo.tar", "1 file, repo/model.py"),
    ("archive", zipped("a.txt", "b.txt", "LICENSE"), "a.zip", "3 files, 2 .txt, 1 other"),
    ("empty-archive", zip_bytes([]), "a.zip", ""),
    ("empty-archive", zipped("a/", "a/b/"), "a.zip", "2 folders"),
]  # fmt: skip
