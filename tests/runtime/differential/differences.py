"""Where Paddock differs from plain python3 and bash, and why it stays so.

A test fails when one of these does not differ any more.
"""

_PRELOADED = "modules that are often used are imported before the program starts"
_OUR_FRAMES = "the program is called by Python code of ours, which shows below its own frames"
_STARTED = "the interpreter runs already: variables that it reads when it starts come too late"
_FLUSH = "a limit's signal makes Python print what is buffered before it ends"
_NO_FILE = "there is no file main.py"
_KINDER = "the interpreter is not taken apart around what is finalized last"
_FROM_TEXT = "a text is compiled, not a file: the tokenizer tells some errors in other words"
_BASH_C = "a shell gets its script by -c, which ends with 127 where a file would with 1"
_SEALED = "stdin is a file in memory, not a pipe"
_CONFINED = "network None"

_BY_REASON: dict[str, tuple[str, ...]] = {
    _PRELOADED: (
        "ending: atexit._ncallbacks",
        "modules: how many modules are loaded",
        "modules: a module that shadows what is often imported",
        "modules: what gc has frozen",
    ),
    _OUR_FRAMES: (
        "exceptions: deep recursion",
        "exceptions: recursion of two",
        "exceptions: recursion in repr",
        "exceptions: how deep it can go",
        "exceptions: traceback.print_stack",
        "exceptions: traceback.extract_stack",
        "exceptions: traceback through a frame of ours",
        "modules: inspect.stack",
        "modules: inspect.currentframe",
        "modules: the frame below the module",
        "modules: logging stack_info",
        "processes: SIGSEGV with faulthandler",
        "processes: faulthandler.dump_traceback",
        "processes: faulthandler for a signal",
    ),
    _STARTED: (
        "modules: PYTHONHASHSEED",
        "modules: PYTHONOPTIMIZE",
        "modules: PYTHONFAULTHANDLER",
        "modules: PYTHONTRACEMALLOC",
        "modules: PYTHONDEVMODE",
        "modules: PYTHONINTMAXSTRDIGITS",
        "modules: PYTHONPYCACHEPREFIX",
        "modules: PYTHONBREAKPOINT",
        "modules: PYTHONNOUSERSITE",
        "modules: PYTHONSAFEPATH",
        "modules: PYTHONUTF8",
        "modules: the program's command line",
        "streams: a locale of its own",
    ),
    _FLUSH: (
        "modules: signals at the start",
        "modules: signals as the kernel has them",
        "processes: SIGXCPU",
        "processes: the last real-time signal",
        "processes: signal.getsignal names",
    ),
    _NO_FILE: (
        "modules: the program's own source",
        "modules: import main by its name",
        "modules: linecache after clearcache",
    ),
    _KINDER: (
        "ending: __del__ held by a library module",
        "ending: __del__ held by builtins",
        "ending: __del__ that imports",
        "ending: __del__ that opens a file",
        "ending: __del__ that exits",
        "ending: sys.is_finalizing in __del__",
        "exceptions: in __del__ at the end",
        "streams: a resource warning at the end",
    ),
    _FROM_TEXT: (
        "exceptions: end of file in a block",
        "streams: a BOM and a syntax error",
        "streams: a coding cookie of ascii with other text",
        "streams: a coding cookie of nothing known",
        "streams: a coding cookie of utf-16",
    ),
    "sys.excepthook and the two like it are ours, which show lines that are on no disk": (
        "exceptions: what the hooks are",
    ),
    "the dump of an exception that cannot be shown counts our reference to it": (
        "exceptions: stderr closed",
        "exceptions: stderr without a write",
        "exceptions: stderr deleted",
        "exceptions: stderr that fails",
    ),
    _BASH_C: (
        "shell: exit with two numbers",
        "shell: set -u",
        "shell: ${x:?}",
        "shell: syntax error in a substitution",
        "shell: $0 and arguments",
        "shell: BASH_SOURCE and LINENO",
        "shell: caller",
        "shell: shell options",
    ),
    _SEALED: ("processes: asyncio reads stdin",),
    "sys.stdin is made for a pipe before it is known that it is /dev/null": (
        "streams: what the streams can do",
    ),
    _CONFINED: (
        "processes: a server on localhost",
        "processes: http.client without a network",
    ),
}
DIFFERENCES = {name: reason for reason, names in _BY_REASON.items() for name in names}
"""Reasons by program."""
