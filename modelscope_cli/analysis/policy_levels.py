"""How grave a name in a pickle can be, and what a row of the policy is.

A row is (module, names, level, reason). Names are separated by blanks; `*` is every name. A module with `.*` at its end means
itself and all below it. A name like `[A-Z]*` is a pattern (fnmatch). Exact rows come before patterns, patterns before `*`, and a
longer module before a shorter one. What no row names falls to the rules of analysis/policy.py. A reason ends a sentence that
begins with the name.
"""

from __future__ import annotations

Row = tuple[str, str, str, str]

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
    "whichdb": "dbm", "StringIO": "io", "cStringIO": "io",
}  # fmt: skip

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
