"""The functions and classes of Python's standard library, so that a text with dots in it that only looks like one is none.

    signal.alarm, random.choice, email.mime.text.MIMEText     functions, and what lies in a module below
    signal.amplitude, random.forest, email.send               names of a feature, a model and an action: Python has no such functions

A line a module: what can be called there, and modules below it. Made by asking Python 3.8, 3.10, 3.11, 3.12 and 3.13 on Linux for every
public name of a module that is callable (dir, callable), with those that the policy names of other systems and versions. Modules whose
names nothing else has (subprocess, asyncio, winreg, all that begin with _) are not listed: whatever stands behind one counts.
"""

from __future__ import annotations

import sys
from functools import cache


def may_be_called(name: str) -> bool:
    """Whether a name with dots can be a function or a class of the standard library, or is none of its names at all."""
    parts = name.split(".")
    known = _listed()
    module = parts[0]
    if module not in known:
        return True
    for part in parts[1:]:
        if part not in known[module]:
            return part.startswith("_")
        module = f"{module}.{part}"
        if module not in known:
            return True
    return False


def is_listed(name: str) -> bool:
    """Whether it begins with the name of a module of the standard library, one that is listed here or one that is not."""
    first = name.partition(".")[0]
    return first in sys.stdlib_module_names or first in _listed()


@cache
def _listed() -> dict[str, frozenset[str]]:
    """By module: what can be called there."""
    lines = TABLE.replace("\n ", " ").split("\n")
    return {module: frozenset(names.split()) for module, _, names in (line.partition(":") for line in lines)}


TABLE = """\
abc: ABC ABCMeta abstractclassmethod abstractmethod abstractproperty abstractstaticmethod get_cache_token update_abstractmethods
array: ArrayType array
atexit: register unregister
base64: a85decode a85encode b16decode b16encode b32decode b32encode b32hexdecode b32hexencode b64decode b64encode b85decode b85encode decode decodebytes
 decodestring encode encodebytes encodestring main standard_b64decode standard_b64encode test urlsafe_b64decode urlsafe_b64encode z85decode z85encode
bdb: Bdb BdbQuit Breakpoint Tdb bar checkfuncname effective foo set_trace test
binascii: Error Incomplete a2b_base64 a2b_hex a2b_hqx a2b_qp a2b_uu b2a_base64 b2a_hex b2a_hqx b2a_qp b2a_uu crc32 crc_hqx hexlify rlecode_hqx rledecode_hqx
 unhexlify
bisect: bisect bisect_left bisect_right insort insort_left insort_right
builtins: ArithmeticError AssertionError AttributeError BaseException BaseExceptionGroup BlockingIOError BrokenPipeError BufferError BytesWarning
 ChildProcessError ConnectionAbortedError ConnectionError ConnectionRefusedError ConnectionResetError DeprecationWarning EOFError EncodingWarning
 EnvironmentError Exception ExceptionGroup FileExistsError FileNotFoundError FloatingPointError FutureWarning GeneratorExit IOError ImportError ImportWarning
 IndentationError IndexError InterruptedError IsADirectoryError KeyError KeyboardInterrupt LookupError MemoryError ModuleNotFoundError NameError
 NotADirectoryError NotImplementedError OSError OverflowError PendingDeprecationWarning PermissionError ProcessLookupError PythonFinalizationError
 RecursionError ReferenceError ResourceWarning RuntimeError RuntimeWarning StopAsyncIteration StopIteration SyntaxError SyntaxWarning SystemError SystemExit
 TabError TimeoutError TypeError UnboundLocalError UnicodeDecodeError UnicodeEncodeError UnicodeError UnicodeTranslateError UnicodeWarning UserWarning
 ValueError Warning ZeroDivisionError abs aiter all anext any apply ascii bin bool breakpoint buffer bytearray bytes callable chr classmethod compile complex
 copyright credits delattr dict dir divmod enumerate eval exec execfile exit file filter float format frozenset getattr globals hasattr hash help hex id input
 int isinstance issubclass iter len license list locals map max memoryview min next object oct open ord pow print property quit range raw_input reduce reload
 repr reversed round set setattr slice sorted staticmethod str sum super tuple type vars zip
bz2: BZ2Compressor BZ2Decompressor BZ2File RLock compress decompress open
calendar: Calendar Day HTMLCalendar IllegalMonthError IllegalWeekdayError IntEnum LocaleHTMLCalendar LocaleTextCalendar Month TextCalendar calendar
 different_locale error firstweekday format formatstring global_enum isleap leapdays main month monthcalendar monthrange prcal prmonth prweek repeat
 setfirstweekday timegm week weekday weekheader
cmath: acos acosh asin asinh atan atanh cos cosh exp isclose isfinite isinf isnan log log10 phase polar rect sin sinh sqrt tan tanh
cmd: Cmd
code: CommandCompiler InteractiveConsole InteractiveInterpreter Quitter compile_command interact
codeop: CommandCompiler Compile compile_command
collections: ChainMap Counter OrderedDict UserDict UserList UserString abc defaultdict deque namedtuple
colorsys: hls_to_rgb hsv_to_rgb rgb_to_hls rgb_to_hsv rgb_to_yiq yiq_to_rgb
commands: getoutput getstatus getstatusoutput mk2arg mkarg
compression: bz2 gzip lzma zlib zstd
concurrent: futures
copy: Error copy deepcopy error replace
crypt: crypt mksalt
csv: Dialect DictReader DictWriter Error Sniffer StringIO excel excel_tab field_size_limit get_dialect list_dialects reader register_dialect unix_dialect
 unregister_dialect writer
datetime: date datetime time timedelta timezone tzinfo
decimal: Clamped Context ConversionSyntax Decimal DecimalException DecimalTuple DivisionByZero DivisionImpossible DivisionUndefined FloatOperation Inexact
 InvalidContext InvalidOperation Overflow Rounded Subnormal Underflow getcontext localcontext setcontext
difflib: Differ GenericAlias HtmlDiff IS_CHARACTER_JUNK IS_LINE_JUNK Match SequenceMatcher context_diff diff_bytes get_close_matches ndiff restore
 unified_diff
dis: ArgResolver Bytecode Formatter Instruction Positions code_info dis disassemble disco distb findlabels findlinestarts get_executor get_instructions main
 pretty_flags print_instructions show_code stack_effect
email: base64mime charset contentmanager encoders errors feedparser generator header headerregistry iterators message message_from_binary_file
 message_from_bytes message_from_file message_from_string mime parser policy quoprimime utils
enum: DynamicClassAttribute Enum EnumCheck EnumDict EnumMeta EnumType Flag FlagBoundary IntEnum IntFlag MappingProxyType ReprEnum StrEnum auto bin global_enum
 global_enum_repr global_flag_repr global_str member nonmember pickle_by_enum_name pickle_by_global_name property reduce show_flag_values unique verify
errno:
fcntl: fcntl flock ioctl lockf
filecmp: GenericAlias clear_cache cmp cmpfiles demo dircmp filterfalse
formatter: AbstractFormatter AbstractWriter DumbWriter NullFormatter NullWriter test
fractions: Decimal Fraction gcd
gc: collect disable enable freeze get_count get_debug get_freeze_count get_objects get_referents get_referrers get_stats get_threshold is_finalized is_tracked
 isenabled set_debug set_threshold unfreeze
getopt: GetoptError do_longs do_shorts error getopt gnu_getopt long_has_args short_has_arg
getpass: GetPassWarning fallback_getpass getpass getuser unix_getpass win_getpass
gettext: Catalog GNUTranslations NullTranslations bind_textdomain_codeset bindtextdomain c2py dgettext dngettext dnpgettext dpgettext find gettext install
 ldgettext ldngettext lgettext lngettext ngettext npgettext pgettext textdomain translation
glob: escape glob glob0 glob1 has_magic iglob translate
graphlib: CycleError GenericAlias TopologicalSorter
gzip: BadGzipFile GzipFile compress decompress main open write32u
hashlib: blake2b blake2s file_digest md5 new pbkdf2_hmac scrypt sha1 sha224 sha256 sha384 sha3_224 sha3_256 sha3_384 sha3_512 sha512 shake_128 shake_256
heapq: heapify heappop heappush heappushpop heapreplace merge nlargest nsmallest
hmac: HMAC compare_digest digest new
html: entities escape parser unescape
http: HTTPMethod HTTPStatus IntEnum StrEnum client cookiejar cookies server
imp: NullImporter SourcelessFileLoader acquire_lock cache_from_source create_dynamic find_module get_frozen_object get_magic get_suffixes get_tag init_builtin
 init_frozen is_builtin is_frozen is_frozen_package load_compiled load_dynamic load_module load_package load_source lock_held new_module release_lock reload
 source_from_cache
io: BlockingIOError BufferedIOBase BufferedRWPair BufferedRandom BufferedReader BufferedWriter BytesIO FileIO IOBase IncrementalNewlineDecoder OpenWrapper
 RawIOBase StringIO TextIOBase TextIOWrapper UnsupportedOperation open open_code text_encoding
json: JSONDecodeError JSONDecoder JSONEncoder decoder detect_encoding dump dumps encoder load loads scanner tool
keyword: iskeyword issoftkeyword
locale: Error atof atoi bind_textdomain_codeset bindtextdomain currency dcgettext delocalize dgettext format format_string getdefaultlocale getencoding
 getlocale getpreferredencoding gettext localeconv localize nl_langinfo normalize resetlocale setlocale str strcoll strxfrm textdomain
logging: BufferingFormatter FileHandler Filter Filterer Formatter GenericAlias Handler LogRecord Logger LoggerAdapter Manager NullHandler PercentStyle
 PlaceHolder RootLogger StrFormatStyle StreamHandler StringTemplateStyle Template addLevelName basicConfig captureWarnings config critical currentframe debug
 disable error exception fatal getHandlerByName getHandlerNames getLevelName getLevelNamesMapping getLogRecordFactory getLogger getLoggerClass handlers info
 log makeLogRecord setLogRecordFactory setLoggerClass shutdown warn warning
lzma: LZMACompressor LZMADecompressor LZMAError LZMAFile compress decompress is_check_supported open
mailbox: Babyl BabylMessage Error ExternalClashError FormatError GenericAlias MH MHMessage MMDF MMDFMessage Mailbox Maildir MaildirMessage Message
 NoSuchMailboxError NotEmptyError mbox mboxMessage
mailcap: UnsafeMailcapInput findmatch findparam getcaps lineno_sort_key listmailcapfiles lookup parsefield parseline readmailcapfile show subst test
marshal: dump dumps load loads
math: acos acosh asin asinh atan atan2 atanh cbrt ceil comb copysign cos cosh degrees dist erf erfc exp exp2 expm1 fabs factorial floor fma fmod frexp fsum
 gamma gcd hypot isclose isfinite isinf isnan isqrt lcm ldexp lgamma log log10 log1p log2 modf nextafter perm pow prod radians remainder sin sinh sqrt sumprod
 tan tanh trunc ulp
mmap: error mmap
numbers: ABCMeta Complex Integral Number Rational Real abstractmethod
operator: abs add and_ attrgetter call concat contains countOf delitem eq floordiv ge getitem gt iadd iand iconcat ifloordiv ilshift imatmul imod imul index
 indexOf inv invert ior ipow irshift is_ is_not isub itemgetter itruediv ixor le length_hint lshift lt matmul methodcaller mod mul ne neg not_ or_ pos pow
 rshift setitem sub truediv truth xor
os: DirEntry GenericAlias Mapping MutableMapping PathLike WCOREDUMP WEXITSTATUS WIFCONTINUED WIFEXITED WIFSIGNALED WIFSTOPPED WSTOPSIG WTERMSIG abort access
 chdir chflags chmod chown chroot close closerange confstr copy_file_range cpu_count ctermid device_encoding dup dup2 environ environb error eventfd
 eventfd_read eventfd_write execl execle execlp execlpe execv execve execvp execvpe fchdir fchmod fchown fdatasync fdopen fork forkpty fpathconf fsdecode
 fsencode fspath fstat fstatvfs fsync ftruncate fwalk get_blocking get_exec_path get_inheritable get_terminal_size getcwd getcwdb getegid getenv getenvb
 geteuid getgid getgrouplist getgroups getloadavg getlogin getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid getsid getuid getxattr
 grantpt initgroups isatty kill killpg lchflags lchmod lchown link listdir listxattr lockf login_tty lseek lstat major makedev makedirs memfd_create minor
 mkdir mkfifo mknod nice open openpty path pathconf pidfd_open pipe pipe2 popen popen2 popen3 popen4 posix_fadvise posix_fallocate posix_openpt posix_spawn
 posix_spawnp pread preadv process_cpu_count ptsname putenv pwrite pwritev read readlink readv register_at_fork remove removedirs removexattr rename renames
 replace rmdir scandir sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getparam sched_getscheduler sched_param sched_rr_get_interval
 sched_setaffinity sched_setparam sched_setscheduler sched_yield sendfile set_blocking set_inheritable setegid seteuid setgid setgroups setns setpgid setpgrp
 setpriority setregid setresgid setresuid setreuid setsid setuid setxattr spawnl spawnle spawnlp spawnlpe spawnv spawnve spawnvp spawnvpe splice startfile
 stat stat_result statvfs statvfs_result strerror symlink sync sysconf system tcgetpgrp tcsetpgrp terminal_size timerfd_create timerfd_gettime
 timerfd_gettime_ns timerfd_settime timerfd_settime_ns times times_result truncate ttyname umask uname uname_result unlink unlockpt unsetenv unshare urandom
 utime wait wait3 wait4 waitid waitid_result waitpid waitstatus_to_exitcode walk write writev
parser: ParserError STType compilest expr isexpr issuite sequence2st st2list st2tuple suite tuple2st
pathlib: Path PosixPath PurePath PurePosixPath PureWindowsPath S_ISBLK S_ISCHR S_ISDIR S_ISFIFO S_ISLNK S_ISREG S_ISSOCK Sequence UnsupportedOperation
 WindowsPath attrgetter chmod copy copy_into copyfile delete hardlink_to lchmod link_to mkdir move move_into open rename replace rmdir rmtree symlink_to touch
 unlink urlquote_from_bytes write_bytes write_text
pdb: CodeType Completer Pdb Restart Union contextmanager find_first_executable_line find_function getsourcelines help lasti2lineno main pm post_mortem run
 runcall runctx runeval set_trace test
pickle: FunctionType PickleBuffer PickleError Pickler PicklingError Unpickler UnpicklingError decode_long dump dumps encode_long islice load loads pack
 partial unpack whichmodule
pipes: Template makepipeline quote
platform: AndroidVer IOSVersionInfo android_ver architecture freedesktop_os_release ios_ver java_ver libc_ver mac_ver machine node platform processor
 python_branch python_build python_compiler python_implementation python_revision python_version python_version_tuple release system system_alias uname
 uname_result version win32_edition win32_is_iot win32_ver
pprint: PrettyPrinter isreadable isrecursive pformat pp pprint saferepr
profile: Profile main run runctx
pty: close fork master_open openpty select setraw slave_open spawn tcgetattr tcsetattr waitpid
queue: Empty Full LifoQueue PriorityQueue Queue ShutDown SimpleQueue deque heappop heappush time
random: Random SystemRandom betavariate binomialvariate choice choices expovariate gammavariate gauss getrandbits getstate lognormvariate main normalvariate
 paretovariate randbytes randint random randrange sample seed setstate shuffle triangular uniform vonmisesvariate weibullvariate
re: Match Pattern PatternError RegexFlag Scanner compile error escape findall finditer fullmatch match purge search split sub subn template
reprlib: Repr get_ident islice recursive_repr repr
resource: error getpagesize getrlimit getrusage prlimit setrlimit struct_rusage
sched: Event count namedtuple scheduler
secrets: SystemRandom choice compare_digest randbelow randbits token_bytes token_hex token_urlsafe
select: epoll error poll select
selectors: ABCMeta BaseSelector DefaultSelector EpollSelector Mapping PollSelector SelectSelector SelectorKey abstractmethod namedtuple
shlex: StringIO deque join quote shlex split
shutil: Error ExecError ReadError RegistryError SameFileError SpecialFileError chown copy copy2 copyfile copyfileobj copymode copystat copytree disk_usage
 get_archive_formats get_terminal_size get_unpack_formats getgrnam getpwnam ignore_patterns make_archive move register_archive_format register_unpack_format
 rmtree unpack_archive unregister_archive_format unregister_unpack_format which
signal: Handlers ItimerError Sigmasks Signals alarm default_int_handler getitimer getsignal pause pidfd_send_signal pthread_kill pthread_sigmask raise_signal
 set_wakeup_fd setitimer siginterrupt signal sigpending sigtimedwait sigwait sigwaitinfo strsignal struct_siginfo valid_signals
site: abs_paths addpackage addsitedir addsitepackages addusersitepackages check_enableusersite enablerlcompleter execsitecustomize execusercustomize
 gethistoryfile getsitepackages getuserbase getusersitepackages main makepath register_readline removeduppaths setcopyright sethelper setquit venv
socket: AddressFamily AddressInfo CMSG_LEN CMSG_SPACE IntEnum IntFlag MsgFlag SocketIO SocketKind SocketType close create_connection create_server dup error
 fromfd gaierror getaddrinfo getdefaulttimeout getfqdn gethostbyaddr gethostbyname gethostbyname_ex gethostname getnameinfo getprotobyname getservbyname
 getservbyport has_dualstack_ipv6 herror htonl htons if_indextoname if_nameindex if_nametoindex inet_aton inet_ntoa inet_ntop inet_pton ntohl ntohs recv_fds
 send_fds setdefaulttimeout sethostname socket socketpair timeout
ssl: AlertDescription CertificateError DER_cert_to_PEM_cert DefaultVerifyPaths MemoryBIO Options PEM_cert_to_DER_cert Purpose RAND_add RAND_bytes
 RAND_pseudo_bytes RAND_status SSLCertVerificationError SSLContext SSLEOFError SSLError SSLErrorNumber SSLObject SSLSession SSLSocket SSLSyscallError
 SSLWantReadError SSLWantWriteError SSLZeroReturnError TLSVersion VerifyFlags VerifyMode cert_time_to_seconds create_connection create_default_context
 get_default_verify_paths get_protocol_name get_server_certificate match_hostname namedtuple socket socket_error wrap_socket
stat: S_IFMT S_IMODE S_ISBLK S_ISCHR S_ISDIR S_ISDOOR S_ISFIFO S_ISLNK S_ISPORT S_ISREG S_ISSOCK S_ISWHT filemode
statistics: Counter Decimal Fraction LinearRegression NormalDist StatisticsError acos asin atan bisect_left bisect_right correlation cos cosh count covariance
 defaultdict erf exp fabs fmean fsum geometric_mean groupby harmonic_mean hypot isfinite isinf itemgetter kde kde_random linear_regression log mean median
 median_grouped median_high median_low mode mul multimode namedtuple pstdev pvariance quantiles reduce repeat sin sqrt stdev sumprod tan variance
string: Formatter Template capwords
struct: Struct calcsize error iter_unpack pack pack_into unpack unpack_from
symbol:
sys: activate_stack_trampoline addaudithook audit breakpointhook call_tracing callstats deactivate_stack_trampoline displayhook exc_info excepthook exception
 exit get_asyncgen_hooks get_coroutine_origin_tracking_depth get_int_max_str_digits getallocatedblocks getcheckinterval getdefaultencoding getdlopenflags
 getfilesystemencodeerrors getfilesystemencoding getprofile getrecursionlimit getrefcount getsizeof getswitchinterval gettrace getunicodeinternedsize intern
 is_finalizing is_stack_trampoline_active set_asyncgen_hooks set_coroutine_origin_tracking_depth set_int_max_str_digits setcheckinterval setdlopenflags
 setprofile setrecursionlimit setswitchinterval settrace unraisablehook
sysconfig: expand_makefile_vars get_config_h_filename get_config_var get_config_vars get_default_scheme get_makefile_filename get_path get_path_names
 get_paths get_platform get_preferred_scheme get_python_version get_scheme_names is_python_build parse_config_h realpath
tarfile: AbsoluteLinkError AbsolutePathError CompressionError EOFHeaderError EmptyHeaderError ExFileObject ExtractError FilterError HeaderError
 InvalidHeaderError LinkOutsideDestinationError OutsideDestinationError ReadError SpecialFileError StreamError SubsequentHeaderError TarError TarFile TarInfo
 TruncatedHeaderError bltn_open calc_chksums copyfileobj data_filter fully_trusted_filter is_tarfile itn main nti nts open stn tar_filter
test: autotest libregrtest pythoninfo regrtest support
this:
thread: LockType allocate allocate_lock error exit exit_thread get_ident interrupt_main stack_size start_new start_new_thread
time: asctime clock_getres clock_gettime clock_gettime_ns clock_settime clock_settime_ns ctime get_clock_info gmtime localtime mktime monotonic monotonic_ns
 perf_counter perf_counter_ns process_time process_time_ns pthread_getcpuclockid sleep strftime strptime struct_time thread_time thread_time_ns time time_ns
 tzset
token: ISEOF ISNONTERMINAL ISTERMINAL
tomllib: TOMLDecodeError load loads
trace: CoverageResults Trace main
types: AsyncGeneratorType BuiltinFunctionType BuiltinMethodType CellType ClassMethodDescriptorType CodeType CoroutineType DynamicClassAttribute EllipsisType
 FrameType FunctionType GeneratorType GenericAlias GetSetDescriptorType LambdaType MappingProxyType MemberDescriptorType MethodDescriptorType MethodType
 MethodWrapperType ModuleType NoneType NotImplementedType SimpleNamespace TracebackType UnionType WrapperDescriptorType coroutine get_original_bases new_class
 prepare_class resolve_bases
uu: Error decode encode test
uuid: Enum SafeUUID UUID bytes_ getnode int_ main uuid1 uuid3 uuid4 uuid5
warnings: WarningMessage catch_warnings deprecated filterwarnings formatwarning resetwarnings showwarning simplefilter warn warn_explicit
wave: Chunk Error Wave_read Wave_write namedtuple open openfp
weakref: CallableProxyType KeyedRef ProxyType ReferenceType WeakKeyDictionary WeakMethod WeakSet WeakValueDictionary finalize getweakrefcount getweakrefs
 proxy ref
xml: dom etree parsers sax
zipfile: BadZipFile BadZipfile CompleteDirs FastLookup LZMACompressor LZMADecompressor LargeZipFile Path PyZipFile ZipExtFile ZipFile ZipInfo crc32 error
 is_zipfile main
zlib: adler32 compress compressobj crc32 decompress decompressobj error
zoneinfo: InvalidTZPathWarning ZoneInfo ZoneInfoNotFoundError available_timezones reset_tzpath"""
