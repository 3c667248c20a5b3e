"""Every code that the runtime puts into a Problem."""

from paddock_api.runtime_api.shapes import Refusal

INVALID_REQUEST = Refusal(
    422,
    "InvalidRequest",
    "A parameter, header or field is not what this document says; `detail` names it and its value.",
)
UNAUTHORIZED = Refusal(401, "Unauthorized", "The token is missing or refused; sign a new one.")
INTERNAL = Refusal(500, "InternalError", "A bug in the runtime; its log says more.")
LENGTH_REQUIRED = Refusal(411, "LengthRequired", "A body came without Content-Length.")
BODY_TOO_LARGE = Refusal(
    413,
    "BodyTooLarge",
    "The body is larger than 4 MiB or holds more than 16384 JSON values, or stdin is larger than "
    "1 MiB; put data into files.",
)
TOO_MANY_BODIES = Refusal(
    429, "TooManyBodies", "Bodies of 16 MiB are being received already; try again later."
)
NOT_FOUND = Refusal(404, "NotFound", "There is no execution, context or file of that name.")
SANDBOX_ENDING = Refusal(
    503, "SandboxEnding", "The sandbox is ending and takes no new work; use another session."
)
WORKSPACE_NOT_READY = Refusal(
    503, "WorkspaceNotReady", "The workspace is not connected; wait for /readyz, then try again."
)
WORKSPACE_BUSY = Refusal(503, "WorkspaceBusy", "The workspace did not answer in time; try again.")

ALREADY_CONFIGURED = Refusal(
    409, "AlreadyConfigured", "It was configured for something else; take another sandbox."
)
FILE_NOT_WRITTEN = Refusal(422, "FileNotWritten", "One of `files` cannot be written.")
WORKSPACE_LOST = Refusal(
    503, "WorkspaceLost", "The workspace died while it wrote `files`; configure may be repeated."
)
JOURNAL_UNAVAILABLE = Refusal(
    503, "JournalUnavailable", "The journal cannot be written, so nothing was done; try again."
)

EXECUTION_ID_REUSED = Refusal(
    409, "ExecutionIdReused", "The id was used for another request; use a new one."
)
EVENT_NOT_THERE = Refusal(
    422,
    "EventNotThere",
    "`Last-Event-ID` is beyond what the execution has written; leave it out.",
)
TOO_MANY_IN_BACKGROUND = Refusal(
    409,
    "TooManyInBackground",
    "All places for background executions are taken; cancel one, or use a template with more "
    "`concurrency`.",
)
TIMEOUT_ABOVE_CEILING = Refusal(
    422, "TimeoutAboveCeiling", "`timeoutMs` is above the template's; ask for less."
)
LANGUAGE_NOT_OFFERED = Refusal(
    422,
    "LanguageNotOffered",
    "The template does not offer `language`; `detail` says which it does.",
)
TOO_MANY_PENDING = Refusal(
    429, "TooManyPending", "256 executions, or requests of 8 MiB, are waiting; try again later."
)
TOO_MANY_STREAMS = Refusal(
    429, "TooManyStreams", "32 clients follow executions already; try again later, or use `wait`."
)
TOO_MANY_ANSWERS = Refusal(
    429,
    "TooManyAnswers",
    "An answer with much output is being sent already; try again later or use `maxOutput`.",
)
JOURNAL_FULL = Refusal(
    503, "JournalFull", "The journal takes no more executions; use another session."
)
NOT_RUNNING = Refusal(409, "NotRunning", "The execution is waiting or has ended.")
STDIN_NOT_OPEN = Refusal(409, "StdinNotOpen", "The execution was started without `stdinOpen`.")
STDIN_CLOSED = Refusal(409, "StdinClosed", "A client or the program itself has closed its input.")
STDIN_FULL = Refusal(
    429, "StdinFull", "The program has not read 1 MiB of what was sent before; try again later."
)

CONTEXT_ID_REUSED = Refusal(
    409, "ContextIdReused", "The id is a context made by another request; use a new id."
)
CONTEXT_DIED = Refusal(
    409, "ContextDied", "The context's interpreter is gone; restart the context."
)
CONTEXT_NOT_STARTED = Refusal(
    422, "ContextNotStarted", "The interpreter could not be started; `detail` says why."
)
TOO_MANY_CONTEXTS = Refusal(
    429, "TooManyContexts", "There are 8 contexts, the most there can be; delete one."
)

PATH_DENIED = Refusal(
    403, "PathDenied", "A symbolic link in the path leads out of the workspace or nowhere."
)
PERMISSION_DENIED = Refusal(
    403, "PermissionDenied", "Its mode, or that of a directory around it, forbids this."
)
IS_A_DIRECTORY = Refusal(409, "IsADirectory", "It is a directory; use /v1/directories.")
NOT_A_DIRECTORY = Refusal(409, "NotADirectory", "It, or something on the way to it, is a file.")
NOT_A_FILE = Refusal(409, "NotAFile", "A FIFO, a socket or a device, which is never opened.")
EXISTS = Refusal(409, "Exists", "Something has that name already.")
EXISTS_CONDITION = Refusal(412, "Exists", "As `If-None-Match: *` wanted: the name is taken.")
NOT_EMPTY = Refusal(409, "NotEmpty", "The directory in that place is not empty.")
OTHER_VOLUME = Refusal(
    409, "OtherVolume", "The two are on different volumes; read, write and delete instead."
)
READ_ONLY = Refusal(409, "ReadOnly", "It is on a read-only file system.")
NAME_TOO_LONG = Refusal(422, "NameTooLong", "A name is longer than its file system allows.")
FILE_TOO_LARGE = Refusal(413, "FileTooLarge", "More than the template allows one file.")
RANGE = Refusal(416, "RangeNotSatisfiable", "The file has no byte of `Range`.")
STALLED = Refusal(408, "RequestTimeout", "Nothing of the body came for 30 s.")
TOO_MANY_TRANSFERS = Refusal(
    429, "TooManyTransfers", "8 files are being read or written already; try again later."
)
TOO_MANY_EXPIRIES = Refusal(
    429, "TooManyExpiries", "No more files with `ttl` can be watched; write it without."
)
DISK_FULL = Refusal(507, "DiskFull", "The disk limit or the volume is used up; delete something.")
FILE_BUSY = Refusal(503, "FileBusy", "A program holds a lease on it or keeps renaming things.")
FILE_SERVER_BUSY = Refusal(503, "FileServerBusy", "The workspace is short of something; try again.")
FILE_SERVER_NOT_READY = Refusal(
    503, "FileServerNotReady", "The workspace's file server is not there just now; try again."
)
DELETE_UNFINISHED = Refusal(
    503, "DeleteUnfinished", "There is more to delete than one request may take; repeat it."
)
UPLOAD_LOST = Refusal(503, "UploadLost", "The file server restarted, nothing was written; repeat.")
IO_ERROR = Refusal(500, "IOError", "The file system failed.")

WITH_BODY = (INVALID_REQUEST, LENGTH_REQUIRED, BODY_TOO_LARGE, TOO_MANY_BODIES)
"""Of every operation that takes a message."""
WITH_PATH = (
    INVALID_REQUEST, NOT_FOUND, PATH_DENIED, PERMISSION_DENIED, NOT_A_DIRECTORY, NAME_TOO_LONG,
    FILE_BUSY, FILE_SERVER_BUSY, FILE_SERVER_NOT_READY, SANDBOX_ENDING, IO_ERROR,
)  # fmt: skip
"""Of every operation that names a place in the workspace."""
