"""Operations on files and directories."""

from dataclasses import replace

from paddock_api.files import DirectoryPage, FileInfo, MoveRequest
from paddock_api.messages import NAME_PATTERN, PATH_PATTERN
from paddock_api.runtime_api import refusals as no
from paddock_api.runtime_api.parameters import page_size
from paddock_api.runtime_api.shapes import BYTES, Answer, Body, Header, Parameter, Route

LISTED = 1000
PATH = Parameter(
    "path",
    "path",
    {"type": "string", "pattern": PATH_PATTERN},
    "Relative to the workspace, percent-encoded: slashes may stand as they are. No component is "
    "empty, `.` or `..`, or longer than 255 bytes.",
    "data/in.csv",
)
_DIRECTORY = replace(PATH, example="data")
RECURSIVE = Parameter(
    "recursive",
    "query",
    {"type": "boolean", "default": False},
    "Whether a directory is removed with all that is in it.",
)
_TTL = Parameter(
    "ttl",
    "query",
    {
        "type": "string",
        "pattern": "^[1-9][0-9]{0,3}(ms|s|m)$|^[1-9][0-9]?h$|^1[0-5][0-9]h$|^16[0-8]h$",
    },
    "When it is deleted, counted from now; at most 168h. Absent: never.",
    "1h",
)
_MODE = Parameter(
    "mode",
    "query",
    {"type": "string", "pattern": "^0?[0-7]{3}$", "default": "0644"},
    "Permission bits, octal.",
    "0755",
)
_AFTER = Parameter(
    "after",
    "query",
    {"type": "string", "pattern": rf"^({NAME_PATTERN})?$"},
    "`next` of the page before, as it is: it is percent-encoded already. Absent: from the first.",
)
_RANGE = Parameter(
    "Range",
    "header",
    {"type": "string"},
    "`bytes=0-99`, `bytes=100-`, `bytes=-100`; any other form is ignored, as RFC 9110 says.",
    "bytes=0-99",
)
_IF_RANGE = Parameter(
    "If-Range", "header", {"type": "string"}, "An ETag: `Range` counts only if the file has it."
)
_IF_NONE_MATCH = Parameter(
    "If-None-Match", "header", {"type": "string"}, "An ETag, or several: 304 if the file has one."
)
_ONLY_NEW = Parameter(
    "If-None-Match",
    "header",
    {"type": "string", "enum": ["*"]},
    "`*`: write it only if nothing has its name.",
    "*",
)
_CONTENT = (
    Header("ETag", "Changes with every change of the file."),
    Header("Last-Modified", "When its content last changed."),
    Header("Accept-Ranges", "`bytes`."),
    Header("X-Content-Type-Options", "`nosniff`: it is whatever user code wrote."),
)
_CONTENT_RANGE = Header("Content-Range", "Which bytes these are, and of how many.")
_OPENING = (*no.WITH_PATH, no.IS_A_DIRECTORY, no.NOT_A_FILE)
_WRITING = (no.READ_ONLY, no.DISK_FULL)
_LISTING = (
    Route(
        "GET",
        "/v1/directories",
        "listWorkspace",
        "What is in the workspace",
        (Answer(200, "One page, in the order of the names' bytes.", DirectoryPage),),
        no.WITH_PATH,
        (page_size(LISTED, LISTED), _AFTER),
    ),
    Route(
        "GET",
        "/v1/directories/{path}",
        "listDirectory",
        "What is in a directory",
        (Answer(200, "One page, in the order of the names' bytes.", DirectoryPage),),
        no.WITH_PATH,
        (_DIRECTORY, page_size(LISTED, LISTED), _AFTER),
    ),
)
ROUTES = (
    Route(
        "GET",
        "/v1/files/{path}",
        "readFile",
        "Read a file or a part of it",
        (
            Answer(200, "All of it.", media=BYTES, headers=_CONTENT),
            Answer(
                206,
                "The part that `Range` names.",
                media=BYTES,
                headers=(*_CONTENT, _CONTENT_RANGE),
            ),
            Answer(304, "The file has an ETag of `If-None-Match`.", headers=_CONTENT),
        ),
        (*_OPENING, no.RANGE, no.TOO_MANY_TRANSFERS),
        (PATH, _RANGE, _IF_RANGE, _IF_NONE_MATCH),
    ),
    Route(
        "HEAD",
        "/v1/files/{path}",
        "readFileHeaders",
        "Size and ETag of a file",
        (
            Answer(200, "The headers of a GET without `Range`.", headers=_CONTENT),
            Answer(304, "The file has an ETag of `If-None-Match`.", headers=_CONTENT),
        ),
        _OPENING,
        (PATH, _IF_NONE_MATCH),
    ),
    Route(
        "PUT",
        "/v1/files/{path}",
        "writeFile",
        "Write a file, atomically",
        (
            Answer(201, "Nothing had its name before.", FileInfo),
            Answer(200, "It was replaced.", FileInfo),
        ),
        (
            *_OPENING,
            *_WRITING,
            no.EXISTS,
            no.EXISTS_CONDITION,
            no.STALLED,
            no.FILE_TOO_LARGE,
            no.TOO_MANY_TRANSFERS,
            no.TOO_MANY_EXPIRIES,
            no.UPLOAD_LOST,
        ),
        (PATH, _MODE, _TTL, _ONLY_NEW),
        Body(description="The content, of any length, with or without Content-Length."),
        "Directories on the way are made. Whoever reads it meanwhile reads the old file or the new "
        "one, whole.",
    ),
    Route(
        "DELETE",
        "/v1/files/{path}",
        "deleteFile",
        "Delete a file, or a directory",
        (Answer(204, "It is gone."),),
        (*_OPENING, no.NOT_EMPTY, no.READ_ONLY, no.DELETE_UNFINISHED),
        (PATH, RECURSIVE),
    ),
    *_LISTING,
    Route(
        "PUT",
        "/v1/directories",
        "keepWorkspace",
        "The workspace itself, which is always there",
        (Answer(200, "It was there.", FileInfo),),
        (*no.WITH_PATH, *_WRITING, no.EXISTS),
    ),
    Route(
        "PUT",
        "/v1/directories/{path}",
        "makeDirectory",
        "Make a directory and those around it",
        (Answer(201, "It was made.", FileInfo), Answer(200, "It was there.", FileInfo)),
        (*no.WITH_PATH, *_WRITING, no.EXISTS, no.NOT_A_FILE),
        (_DIRECTORY,),
    ),
    Route(
        "POST",
        "/v1/move",
        "move",
        "Rename a file or a directory, atomically",
        (Answer(200, "What `target` names now.", FileInfo),),
        (
            *no.WITH_BODY,
            *_OPENING,
            *_WRITING,
            no.EXISTS,
            no.NOT_EMPTY,
            no.OTHER_VOLUME,
        ),
        body=Body(MoveRequest),
    ),
)
