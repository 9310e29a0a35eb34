"""The names that pickles of Python 2 use for what is called otherwise now, as CPython maps them (Lib/_compat_pickle.py).

Only pickles of the protocols 0 to 2 are read so: from protocol 3 on a name means what it says.
"""

from __future__ import annotations

NEWEST = 2  # protocol
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
