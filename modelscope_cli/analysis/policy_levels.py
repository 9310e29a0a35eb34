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

# Names that Python 2 pickles use for modules that are called otherwise now (CPython Lib/_compat_pickle.py).
PYTHON2 = {
    "__builtin__": "builtins", "exceptions": "builtins", "copy_reg": "copyreg", "cPickle": "pickle", "Queue": "queue",
    "commands": "subprocess", "SocketServer": "socketserver", "ConfigParser": "configparser", "repr": "reprlib",
    "FileDialog": "tkinter.filedialog", "Tkinter": "tkinter", "SimpleDialog": "tkinter.simpledialog", "tkColorChooser":
    "tkinter.colorchooser", "tkCommonDialog": "tkinter.commondialog", "Dialog": "tkinter.dialog", "Tkdnd": "tkinter.dnd",
    "tkFont": "tkinter.font", "tkMessageBox": "tkinter.messagebox", "ScrolledText": "tkinter.scrolledtext", "Tkconstants":
    "tkinter.constants", "Tix": "tkinter.tix", "ttk": "tkinter.ttk", "tkFileDialog": "tkinter.filedialog", "tkSimpleDialog":
    "tkinter.simpledialog", "markupbase": "_markupbase", "_winreg": "winreg", "thread": "_thread", "dummy_thread":
    "_dummy_thread", "dbhash": "dbm.bsd", "dumbdbm": "dbm.dumb", "dbm": "dbm.ndbm", "gdbm": "dbm.gnu", "xmlrpclib":
    "xmlrpc.client", "SimpleXMLRPCServer": "xmlrpc.server", "DocXMLRPCServer": "xmlrpc.server", "httplib": "http.client",
    "htmlentitydefs": "html.entities", "HTMLParser": "html.parser", "Cookie": "http.cookies", "cookielib": "http.cookiejar",
    "BaseHTTPServer": "http.server", "CGIHTTPServer": "http.server", "SimpleHTTPServer": "http.server", "test.test_support":
    "test.support", "urlparse": "urllib.parse", "robotparser": "urllib.robotparser", "urllib2": "urllib.request", "anydbm":
    "dbm", "_abcoll": "collections.abc", "UserDict": "collections", "UserList": "collections", "UserString": "collections",
    "whichdb": "dbm", "StringIO": "io", "cStringIO": "io", "_elementtree": "xml.etree.ElementTree",
}  # fmt: skip

# The same of single names, which come before: (module, name) → (module, name).
PYTHON2_NAMES = {
    ("__builtin__", "xrange"): ("builtins", "range"), ("__builtin__", "reduce"): ("functools", "reduce"),
    ("__builtin__", "intern"): ("sys", "intern"), ("__builtin__", "unichr"): ("builtins", "chr"),
    ("__builtin__", "unicode"): ("builtins", "str"), ("__builtin__", "long"): ("builtins", "int"),
    ("__builtin__", "basestring"): ("builtins", "str"), ("itertools", "izip"): ("builtins", "zip"),
    ("itertools", "imap"): ("builtins", "map"), ("itertools", "ifilter"): ("builtins", "filter"),
    ("itertools", "ifilterfalse"): ("itertools", "filterfalse"), ("itertools", "izip_longest"): ("itertools", "zip_longest"),
    ("UserDict", "IterableUserDict"): ("collections", "UserDict"), ("UserDict", "UserDict"): ("collections", "UserDict"),
    ("UserList", "UserList"): ("collections", "UserList"), ("UserString", "UserString"): ("collections", "UserString"),
    ("whichdb", "whichdb"): ("dbm", "whichdb"), ("_socket", "fromfd"): ("socket", "fromfd"),
    ("_multiprocessing", "Connection"): ("multiprocessing.connection", "Connection"),
    ("multiprocessing.process", "Process"): ("multiprocessing.context", "Process"),
    ("multiprocessing.forking", "Popen"): ("multiprocessing.popen_fork", "Popen"),
    ("urllib", "ContentTooShortError"): ("urllib.error", "ContentTooShortError"), ("urllib", "getproxies"):
    ("urllib.request", "getproxies"), ("urllib", "pathname2url"): ("urllib.request", "pathname2url"),
    ("urllib", "quote_plus"): ("urllib.parse", "quote_plus"), ("urllib", "quote"): ("urllib.parse", "quote"),
    ("urllib", "unquote_plus"): ("urllib.parse", "unquote_plus"), ("urllib", "unquote"): ("urllib.parse", "unquote"),
    ("urllib", "url2pathname"): ("urllib.request", "url2pathname"), ("urllib", "urlcleanup"): ("urllib.request", "urlcleanup"),
    ("urllib", "urlencode"): ("urllib.parse", "urlencode"), ("urllib", "urlopen"): ("urllib.request", "urlopen"),
    ("urllib", "urlretrieve"): ("urllib.request", "urlretrieve"), ("urllib2", "HTTPError"): ("urllib.error", "HTTPError"),
    ("urllib2", "URLError"): ("urllib.error", "URLError"), ("socket", "_socketobject"): ("socket", "SocketType"),
    ("exceptions", "StandardError"): ("builtins", "Exception"),
    **{
        ("multiprocessing", name): ("multiprocessing.context", name)
        for name in ("AuthenticationError", "BufferTooShort", "ProcessError", "TimeoutError")
    },
}  # fmt: skip


def imported_as(module: str, name: str) -> tuple[str, str]:
    """The name that Python 3 imports for one that a pickle writes."""
    return PYTHON2_NAMES.get((module, name)) or (PYTHON2.get(module, module), name)


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
