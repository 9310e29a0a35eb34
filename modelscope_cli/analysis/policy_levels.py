"""How grave a name in a pickle can be, and what a row of the policy is.

A row is (module, names, level, reason). Names are separated by blanks; `*` is every name. A module with `.*` at its end means
itself and all below it. A name like `[A-Z]*` is a pattern (fnmatch). Exact rows come before patterns, patterns before `*`, and a
longer module before a shorter one. What no row names falls to the rules of analysis/policy.py. A reason ends a sentence that
begins with the name.
"""

from __future__ import annotations

Row = tuple[str, str, str, str]

# Classes of other places that the modules of frameworks hold, under their own name or with a _ before it: what stands for them
# there has not been judged as what it is at home.
BORROWED = frozenset({
    "ABC", "ABCMeta", "AOTCompiledArtifact", "AbstractContextManager", "Action", "AppendingByteSerializer",
    "ArgumentParser", "Await", "BackwardHook", "BaseHTTPRequestHandler", "BaseTy", "BooleanAtom", "BufferedIOBase",
    "BytesReader", "BytesWriter", "CachedTorchDispatchMode", "CachingTorchDispatchMode", "CapturedTraceback", "CodeType",
    "CompilationUnit", "ConcreteModuleType", "Connection", "ContentStoreReader", "CustomOpDef", "DebugMode", "DictLoader",
    "EmptyQueue", "Enum", "Environment", "ExitStack", "FakeScriptObject", "FileSystemBase", "FileSystemReader",
    "FileSystemWriter", "ForwardRef", "FunctionType", "Future", "Generic", "GenericAlias", "HTTPServer",
    "HigherOrderOperator", "HuggingFaceStorageReader", "HuggingFaceStorageWriter", "Importer", "IntEnum", "Integer",
    "LambdaType", "LazyString", "Library", "LiteScriptModule", "Lock", "LockType", "MappingProxyType", "MethodType",
    "ModuleType", "NamedTuple", "NewType", "Number", "OpOverload", "OpOverloadPacket", "OperatorBase", "OptimizedModule",
    "OrderedSet", "PackageExporter", "PackageImporter", "ParamSpec", "Pickler", "Popen", "Process", "ProcessPoolExecutor",
    "Protocol", "PyTorchFileReader", "PyTorchFileWriter", "QuantizedHuggingFaceStorageReader", "Queue", "RLock", "RRef",
    "RawTextHelpFormatter", "RecursiveScriptModule", "ReferenceType", "ScriptFunction", "ScriptMethod", "ScriptModule",
    "ScriptObject", "ShapeEnv", "SourceRangeFactory", "StaticModule", "Stats", "StorageReader", "StorageWeakRef",
    "StorageWriter", "StrobelightCompileTimeProfiler", "SymNode", "Symbol", "TensorReferenceAnalysis", "TestCase", "Thread",
    "ThreadPoolExecutor", "ThreadingHTTPServer", "TorchBindOpOverload", "TorchDispatchMode", "TraceableWrapperSubclass",
    "TracebackType", "TypeAliasType", "TypeVar", "TypeVarTuple", "TypedDict", "Unpickler", "WarningMessage",
    "WeakIdKeyDictionary", "WeakKeyDictionary", "WeakTensorKeyDictionary", "WeakValueDictionary", "ZipFile",
})  # fmt: skip

# Modules of the standard library that are gone from some Pythons or private to others, so that every Python judges alike.
GONE = frozenset({
    "_android_support", "_apple_support", "_bootlocale", "_colorize", "_crypt", "_interpchannels", "_interpqueues",
    "_interpreters", "_ios_support", "_opcode_metadata", "_pyrepl", "_remote_debugging", "_suggestions", "_sysconfig",
    "_testcapi", "_testinternalcapi", "_wmi", "aifc", "annotationlib", "asynchat", "asyncore", "audioop", "binhex", "bsddb",
    "cgi", "cgitb", "commands", "compression", "crypt", "dircache", "distutils", "dl", "ftplib", "graphlib", "hotshot",
    "htmllib", "imghdr", "imp", "imputil", "lib2to3", "macpath", "macurl2path", "mailcap", "mhlib", "mimetools", "mimify",
    "msilib", "multifile", "nis", "nntplib", "ossaudiodev", "pipes", "popen2", "posixfile", "rexec", "rfc822", "sgmllib",
    "smtpd", "sndhdr", "spwd", "sunau", "telnetlib", "thread", "tkinter", "toaiff", "tomllib", "urllib2", "uu", "xdrlib",
    "xxlimited_35", "zoneinfo",
})  # fmt: skip
