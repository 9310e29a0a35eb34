"""The policy on torch's own layers: which classes are layers and nothing else, each where it is defined.

Exact names, because the modules around them hold other things under capital letters too: torch.fx.GraphModule, typing.NamedTuple,
modules called F. Each class was read: neither making it nor giving it a state calls, imports or compiles what the file says.
A test resolves all of them in an installed torch.
"""

from __future__ import annotations

from modelscope_cli.analysis.policy_levels import Row
from modelscope_cli.core.scan_codes import SAFE

_LAYER = "is a layer of torch, rebuilt without calling its code"

# torch.nn.modules.…
_LAYERS = (
    (
        "activation",
        "CELU ELU GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid LogSoftmax Mish "
        "MultiheadAttention PReLU RReLU ReLU ReLU6 SELU SiLU Sigmoid Softmax Softmax2d Softmin Softplus Softshrink "
        "Softsign Tanh Tanhshrink Threshold",
    ),
    ("adaptive", "AdaptiveLogSoftmaxWithLoss"),
    ("batchnorm", "BatchNorm1d BatchNorm2d BatchNorm3d LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d SyncBatchNorm"),
    ("channelshuffle", "ChannelShuffle"),
    ("container", "Container ModuleDict ModuleList ParameterDict ParameterList Sequential"),
    (
        "conv",
        "Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d LazyConv1d LazyConv2d LazyConv3d "
        "LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d",
    ),
    ("distance", "CosineSimilarity PairwiseDistance"),
    ("dropout", "AlphaDropout Dropout Dropout1d Dropout2d Dropout3d FeatureAlphaDropout"),
    ("flatten", "Flatten Unflatten"),
    ("fold", "Fold Unfold"),
    ("instancenorm", "InstanceNorm1d InstanceNorm2d InstanceNorm3d LazyInstanceNorm1d LazyInstanceNorm2d LazyInstanceNorm3d"),
    ("linear", "Bilinear Identity LazyLinear Linear NonDynamicallyQuantizableLinear"),
    (
        "loss",
        "BCELoss BCEWithLogitsLoss CTCLoss CosineEmbeddingLoss CrossEntropyLoss GaussianNLLLoss HingeEmbeddingLoss "
        "HuberLoss KLDivLoss L1Loss LinearCrossEntropyLoss MSELoss MarginRankingLoss MultiLabelMarginLoss "
        "MultiLabelSoftMarginLoss MultiMarginLoss NLLLoss NLLLoss2d PoissonNLLLoss SmoothL1Loss SoftMarginLoss "
        "TripletMarginLoss TripletMarginWithDistanceLoss",
    ),
    ("module", "Module"),
    ("normalization", "CrossMapLRN2d GroupNorm LayerNorm LocalResponseNorm RMSNorm"),
    (
        "padding",
        "CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d ReflectionPad1d "
        "ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d ZeroPad1d ZeroPad2d "
        "ZeroPad3d",
    ),
    ("pixelshuffle", "PixelShuffle PixelUnshuffle"),
    (
        "pooling",
        "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d "
        "AvgPool1d AvgPool2d AvgPool3d FractionalMaxPool2d FractionalMaxPool3d LPPool1d LPPool2d LPPool3d MaxPool1d "
        "MaxPool2d MaxPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d",
    ),
    ("rnn", "GRU GRUCell LSTM LSTMCell RNN RNNBase RNNCell RNNCellBase"),
    ("sparse", "Embedding EmbeddingBag"),
    ("transformer", "Transformer TransformerDecoder TransformerDecoderLayer TransformerEncoder TransformerEncoderLayer"),
    ("upsampling", "Upsample UpsamplingBilinear2d UpsamplingNearest2d"),
)  # fmt: skip
# torch.ao.nn.…, and torch.nn.… before 1.13
_QUANTISED = (
    (
        "intrinsic.modules.fused",
        "BNReLU2d BNReLU3d ConvAdd2d ConvAddReLU2d ConvBn1d ConvBn2d ConvBn3d ConvBnReLU1d ConvBnReLU2d ConvBnReLU3d "
        "ConvReLU1d ConvReLU2d ConvReLU3d LinearBn1d LinearLeakyReLU LinearReLU LinearTanh",
    ),
    (
        "intrinsic.qat.modules.conv_fused",
        "ConvBn1d ConvBn2d ConvBn3d ConvBnReLU1d ConvBnReLU2d ConvBnReLU3d ConvReLU1d ConvReLU2d ConvReLU3d",
    ),
    ("intrinsic.qat.modules.linear_fused", "LinearBn1d"),
    ("intrinsic.qat.modules.linear_relu", "LinearReLU"),
    ("intrinsic.quantized.dynamic.modules.linear_relu", "LinearReLU"),
    ("intrinsic.quantized.modules.bn_relu", "BNReLU2d BNReLU3d"),
    ("intrinsic.quantized.modules.conv_add", "ConvAdd2d ConvAddReLU2d"),
    ("intrinsic.quantized.modules.conv_relu", "ConvReLU1d ConvReLU2d ConvReLU3d"),
    ("intrinsic.quantized.modules.linear_relu", "LinearLeakyReLU LinearReLU LinearTanh"),
    ("qat.dynamic.modules.linear", "Linear"),
    ("qat.modules.conv", "Conv1d Conv2d Conv3d"),
    ("qat.modules.embedding_ops", "Embedding EmbeddingBag"),
    ("qat.modules.linear", "Linear"),
    ("quantizable.modules.activation", "MultiheadAttention"),
    ("quantizable.modules.rnn", "LSTM LSTMCell"),
    ("quantized.dynamic.modules.conv", "Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d"),
    ("quantized.dynamic.modules.linear", "Linear"),
    ("quantized.dynamic.modules.rnn", "GRU GRUCell LSTM LSTMCell PackedParameter RNNBase RNNCell RNNCellBase"),
    ("quantized.modules", "DeQuantize Quantize"),
    ("quantized.modules.activation", "ELU Hardswish LeakyReLU MultiheadAttention PReLU ReLU6 Sigmoid Softmax"),
    ("quantized.modules.batchnorm", "BatchNorm2d BatchNorm3d"),
    ("quantized.modules.conv", "Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d"),
    ("quantized.modules.dropout", "Dropout"),
    ("quantized.modules.embedding_ops", "Embedding EmbeddingBag EmbeddingPackedParams"),
    ("quantized.modules.functional_modules", "FXFloatFunctional FloatFunctional QFunctional"),
    ("quantized.modules.linear", "Linear LinearPackedParams"),
    ("quantized.modules.normalization", "GroupNorm InstanceNorm1d InstanceNorm2d InstanceNorm3d LayerNorm"),
    ("quantized.modules.rnn", "LSTM"),
    ("quantized.modules.utils", "WeightedQuantizedModule"),
    ("quantized.reference.modules.conv", "Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d"),
    ("quantized.reference.modules.linear", "Linear"),
    ("quantized.reference.modules.rnn", "GRU GRUCell LSTM LSTMCell RNNBase RNNCell RNNCellBase"),
    ("quantized.reference.modules.sparse", "Embedding EmbeddingBag"),
    ("quantized.reference.modules.utils", "ReferenceQuantizedModule"),
    ("sparse.quantized.dynamic.linear", "Linear"),
    ("sparse.quantized.linear", "Linear LinearPackedParams"),
)  # fmt: skip
# torch.ao.quantization.…, and torch.quantization.… before 1.13
_OBSERVERS = (
    ("fake_quantize", "FakeQuantize FakeQuantizeBase FixedQParamsFakeQuantize FusedMovingAvgObsFakeQuantize"),
    (
        "observer",
        "AffineQuantizedObserverBase FixedQParamsObserver HistogramObserver MinMaxObserver MovingAverageMinMaxObserver "
        "MovingAveragePerChannelMinMaxObserver NoopObserver ObserverBase PerChannelMinMaxObserver PlaceholderObserver "
        "RecordingObserver ReuseInputObserver UniformQuantizationObserverBase",
    ),
    ("stubs", "DeQuantStub QuantStub QuantWrapper"),
)  # fmt: skip

LAYER_ROWS: tuple[Row, ...] = (
    *((f"torch.nn.modules.{module}", names, SAFE, _LAYER) for module, names in _LAYERS),
    *((f"{root}.{module}", names, SAFE, _LAYER) for root in ("torch.ao.nn", "torch.nn") for module, names in _QUANTISED),
    *(
        (f"{root}.{module}", names, SAFE, _LAYER)
        for root in ("torch.ao.quantization", "torch.quantization")
        for module, names in _OBSERVERS
    ),
    ("torch.nn.utils.parametrize", "ParametrizationList", SAFE, _LAYER),
)
