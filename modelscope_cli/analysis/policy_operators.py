"""How grave it is that a model's graph has an operator: rows for those that reach out of the graph, and what holds for the others.

A row is (library, names, level, reason, attribute): where a pattern is given, it applies only if a value of the attribute that decides
what the operator does is like it, or not all of them could be told. The first row that fits counts. What no row names is taken for
harmless where the library is one whose operators are known; of another library it is unknown: the program that loads the model has to
bring it.

Sources: the operators of TensorFlow (tensorflow.org/api_docs/python/tf/raw_ops), its SECURITY.md ("models are programs"), the list that
`saved_model_cli scan` denies (ReadFile, WriteFile, PrintV2); N. Zhu et al., My Model is Malware to You, IEEE S&P 2025 (TensorAbuse:
files read and written, folders listed, data sent and received by operators alone, each shown with a SavedModel); the operators of ONNX
Runtime (docs/ContribOperators.md, docs/PyOp.md, orttraining/core/graph/training_op_defs.cc); tensorflow/lite/core/kernels/register.cc.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from modelscope_cli.analysis.policy import Judgement, Policy
from modelscope_cli.core.scan_codes import DANGEROUS, SAFE, SUSPICIOUS, UNKNOWN
from modelscope_cli.core.scanned import Operator

TENSORFLOW, LITE, COREML = "tensorflow", "tflite.custom", "coreml.custom"
OURS = (TENSORFLOW, LITE, COREML, "tflite.builtin")  # names of libraries that are no domains of ONNX
ANY = "*"  # domain of ONNX
_READS = "reads any file whose name the graph makes up; models that take images or texts by name have it, too"
_DATASET = "reads any file whose name the graph makes up, as a pipeline of training data does and no model needs to"
_LISTS = "lists the files of any folder"
_WRITES = "writes to any file whose name the graph makes up"
_LOGS = "writes logs of training to any folder that the graph names"
_SENDS = "sends tensors to a server that the graph names"
_TALKS = "opens network connections to servers that the graph names"
_REGISTRY = (
    "calls a Python function of the running program that was registered under a token. The file has the token and not the function, so "
    "a program that only loads it has none to call"
)
_TABLE = "fills a table from a text file, which SavedModels keep among their assets"


class OperatorRow(NamedTuple):
    """`names` are separated by blanks, `*` at the end of one stands for the rest of it. `attribute` is a pattern, searched for."""

    library: str
    names: str
    level: str
    reason: str
    attribute: str = ""


OPERATOR_ROWS = (
    # TensorFlow: files
    OperatorRow(TENSORFLOW, "WriteFile", DANGEROUS, _WRITES),
    OperatorRow(TENSORFLOW, "DumpTensor", DANGEROUS, "writes tensors, texts among them, to the file that its attributes name"),
    OperatorRow(TENSORFLOW, "CalibrationStatisticsSaver", SUSPICIOUS, "writes statistics to the file that its output_file_path names"),
    OperatorRow(TENSORFLOW, "PrintV2", DANGEROUS, "appends what it is given to the file that its output_stream names", r"^file:|\(not told\)"),
    OperatorRow(TENSORFLOW, "ReadFile WholeFileReader WholeFileReaderV2", SUSPICIOUS, _READS),
    OperatorRow(TENSORFLOW, "ImmutableConst", SUSPICIOUS, "takes any file that its memory_region_name names for a tensor"),
    OperatorRow(TENSORFLOW, "MatchingFiles MatchingFilesDataset", SUSPICIOUS, _LISTS),
    OperatorRow(
        TENSORFLOW,
        "TextLineDataset TFRecordDataset TFRecordDatasetV2 FixedLengthRecordDataset FixedLengthRecordDatasetV2 CSVDataset CSVDatasetV2 "
        "LMDBDataset SqlDataset Skipgram TextLineReader TextLineReaderV2 TFRecordReader TFRecordReaderV2 FixedLengthRecordReader "
        "FixedLengthRecordReaderV2 LMDBReader LoadDataset SnapshotDatasetReader SnapshotNestedDatasetReader SnapshotChunkDataset "
        "ListSnapshotChunksDataset RecordInput",
        SUSPICIOUS, _DATASET,
    ),
    OperatorRow(
        TENSORFLOW,
        "SaveDataset SaveDatasetV2 SnapshotDataset SnapshotDatasetV2 DatasetToTFRecord",
        SUSPICIOUS, "writes a dataset to files whose name the graph makes up",
    ),
    OperatorRow(TENSORFLOW, "CacheDataset CacheDatasetV2", UNKNOWN, "keeps a dataset in memory, or in a file whose name the graph makes up"),
    OperatorRow(
        TENSORFLOW, "LoadAndRemapMatrix GenerateVocabRemapping", UNKNOWN,
        "reads a checkpoint or a vocabulary whose name the graph makes up, as training does that begins with another model",
    ),
    OperatorRow(TENSORFLOW, "FixedUnigramCandidateSampler", UNKNOWN, "reads the file that its vocab_file names", r"\S"),
    OperatorRow(TENSORFLOW, "Abort", SUSPICIOUS, "ends the running program"),
    OperatorRow(TENSORFLOW, "DecodeProtoV2 EncodeProto", SUSPICIOUS, "reads the file that its descriptor_source names", r"^(?!local://|bytes://|$)"),
    OperatorRow(
        TENSORFLOW,
        "CreateSummaryFileWriter CreateSummaryDbWriter WriteSummary WriteScalarSummary WriteHistogramSummary WriteImageSummary "
        "WriteAudioSummary WriteGraphSummary WriteRawProtoSummary ImportEvent",
        SUSPICIOUS, _LOGS,
    ),
    OperatorRow(
        TENSORFLOW, "Save SaveSlices", UNKNOWN,
        "writes tensors to any file whose name the graph makes up; graphs of before TensorFlow 1.0 have it to be saved",
    ),
    OperatorRow(TENSORFLOW, "SaveV2 Restore RestoreV2 RestoreSlice DTensorRestoreV2 MergeV2Checkpoints ShardedFilename ShardedFilespec", SAFE,
                "saves and restores checkpoints, which every SavedModel has"),
    OperatorRow(TENSORFLOW, "InitializeTableFromTextFile InitializeTableFromTextFileV2", SAFE, _TABLE),
    OperatorRow(TENSORFLOW, "FileSystemSetConfiguration", SUSPICIOUS, "changes how the running program reaches files"),
    # TensorFlow: connections
    OperatorRow(TENSORFLOW, "DebugIdentity* DebugNanCount DebugNumericSummary*", DANGEROUS, _SENDS, r"^grpc:|\(not told\)"),
    OperatorRow(TENSORFLOW, "DebugIdentity* DebugNanCount DebugNumericSummary*", SUSPICIOUS, "dumps tensors where its debug_urls say", r"\S"),
    OperatorRow(TENSORFLOW, "Rpc TryRpc RpcClient RpcCall RpcCheckStatus RpcGetValue", DANGEROUS, _TALKS),
    OperatorRow(TENSORFLOW, "RpcServer RpcServerStart RpcServerRegister", DANGEROUS, "is a server that takes calls from the network"),
    OperatorRow(
        TENSORFLOW,
        "DataServiceDataset DataServiceDatasetV2 DataServiceDatasetV3 DataServiceDatasetV4 RegisterDataset RegisterDatasetV2 DistributedSave",
        DANGEROUS, _TALKS,
    ),
    OperatorRow(TENSORFLOW, "BigQueryReader BigtableClient KafkaDataset GcsConfigure*", DANGEROUS, _TALKS),
    # TensorFlow: code
    OperatorRow(TENSORFLOW, "PyFunc PyFuncStateless EagerPyFunc", SUSPICIOUS, _REGISTRY),
    OperatorRow(TENSORFLOW, "XlaCustomCall XlaCustomCallV2", UNKNOWN, "calls compiled code of the running program by a registered name"),
    OperatorRow(TENSORFLOW, "MlirPassthroughOp _XlaHostComputeMlir", UNKNOWN, "compiles a program that stands in a string"),
    OperatorRow(TENSORFLOW, "DatasetFromGraph", SUSPICIOUS, "runs a graph that stands in a string, which hides its operators"),
    OperatorRow(TENSORFLOW, "TRTEngineOp TRTCalibOp", UNKNOWN, "holds an engine of TensorRT, which is compiled code"),
    OperatorRow(TENSORFLOW, "RemoteCall", UNKNOWN, "runs a function on the device that the graph names, which can be another machine"),
    # ONNX
    OperatorRow(
        ANY, "PyOp", DANGEROUS,
        "imports a Python module and calls the class that its attributes name, in an ONNX Runtime built with --enable_language_interop_ops",
    ),
    OperatorRow(
        "com.microsoft", "PythonOp PythonOpGrad", DANGEROUS,
        "calls a Python function of the program by its name, and takes numbers in the file for the addresses of Python objects, in ONNX "
        "Runtime for training",
    ),
    OperatorRow("com.microsoft", "EPContext", UNKNOWN, "holds a part of the model that was compiled for one accelerator"),
    OperatorRow("org.pytorch.aten", "ATen", UNKNOWN, "runs the operator of PyTorch that its attribute names, in ONNX Runtime for training"),
    OperatorRow("com.microsoft", "ATenOp ATenOpGrad", UNKNOWN, "runs the operator of PyTorch that its attribute names"),
    # TensorFlow Lite: what its own interpreters have without anybody adding it
    OperatorRow(
        LITE,
        "TFLite_Detection_PostProcess Mfcc AudioSpectrogram NumericVerify AudioMicrofrontend SignalWindow SignalRfft SignalIrfft "
        "SignalEnergy SignalFilterBank SignalFilterBankLog SignalFilterBankSquareRoot SignalFilterBankSpectralSubtraction SignalPCAN "
        "SignalFftAutoScale SignalFramer SignalOverlapAdd SignalDelay SignalStacker CIRCULAR_BUFFER ethos-u "
        "edgetpu-custom-op MaxPoolingWithArgmax2D MaxUnpooling2D Convolution2DTransposeBias",
        SAFE, "computes from its inputs alone",
    ),
)  # fmt: skip

# Domains of ONNX whose operators are known, and TensorFlow Lite; the others need a library that the program registers.
DOMAINS = frozenset({
    "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview", "ai.onnx.preview.training", "com.microsoft", "com.microsoft.nchwc",
    "com.microsoft.experimental", "com.microsoft.dml", "com.ms.internal.nhwc", "tflite.builtin",
})  # fmt: skip
OTHERS = {
    LITE: "is no operator of TensorFlow Lite: the program that loads the model has to bring it",
    COREML: "is a class of the app by this name, which Core ML makes: the app has to bring it",
}
FOREIGN = "is of a library that the program which loads the model has to bring"
UNNAMED = Judgement(UNKNOWN, "has no name")
HARMLESS = Judgement(SAFE, "computes from its inputs alone")
OWN = Judgement(SAFE, "is defined in the model itself")


def judge_operator(policy: Policy, operator: Operator) -> Judgement:
    """The judgement on an operator; the rows of a user's policy come first, as `tensorflow.ReadFile` or `com.example.Pool`."""
    theirs = policy.row(operator.library, operator.name)
    if theirs is None or not theirs.by:
        return _our_judgement(operator)
    return (
        theirs if policy.loosens else policy.stricter(f"{operator.library}.{operator.name}", theirs, _our_judgement(operator))
    )


def _our_judgement(operator: Operator) -> Judgement:
    name = operator.name
    if operator.library == TENSORFLOW:
        name = name.removeprefix("Experimental")  # tf.raw_ops has both, for the same kernel
    for row in rows_for(operator.library):
        if _named(row.names, name) and (not row.attribute or any(re.search(row.attribute, value) for value in operator.detail)):
            return OWN if operator.own and row.level == UNKNOWN else Judgement(row.level, row.reason)
    if operator.own:
        return OWN
    if operator.library == TENSORFLOW:
        return Judgement(UNKNOWN, FOREIGN) if ">" in name else HARMLESS
    if operator.library in DOMAINS:
        return HARMLESS
    if not name:
        return UNNAMED
    return Judgement(UNKNOWN, OTHERS.get(operator.library, FOREIGN))


@cache
def rows_for(library: str) -> tuple[OperatorRow, ...]:
    """The rows that may speak of a library, those of every domain of ONNX among them."""
    return tuple(row for row in OPERATOR_ROWS if row.library == library or (row.library == ANY and library not in OURS))


def _named(names: str, name: str) -> bool:
    return any(name == each or (each.endswith("*") and name.startswith(each[:-1])) for each in _split(names))


@cache
def _split(names: str) -> tuple[str, ...]:
    return tuple(names.split())
