"""Running a stage: an expected failure is one sentence, a traceback means a bug, and unfinished folders are removed."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from extraction.files import NO_SPACE, StageError
from extraction.handoff import abandon_all


def show_bug(error: BaseException) -> None:
    """Print where an unexpected error came from: the lines of code and the kind of error.

    Its message may hold text of a document, so that it is only shown with DOC_INTEL_DEBUG=1 in the environment.
    """
    if os.environ.get("DOC_INTEL_DEBUG") == "1":
        traceback.print_exception(error)
        return
    chain = [error]
    while (earlier := chain[-1].__cause__ or chain[-1].__context__) and earlier not in chain:
        chain.append(earlier)
    for one in reversed(chain):
        print("".join(traceback.format_tb(one.__traceback__)), type(one).__name__, sep="", file=sys.stderr)
    print("The message may hold text of a document. DOC_INTEL_DEBUG=1 shows it.", file=sys.stderr, flush=True)


def show_bugs_without_text() -> None:
    """From now on, `show_bug` shows unexpected errors of this process and its threads."""
    sys.excepthook = lambda kind, error, trace: show_bug(error)
    threading.excepthook = lambda bug: show_bug(bug.exc_value) if bug.exc_value else None


def _terminated(*_: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not interrupt the cleaning up
    sys.exit(143)


def run_stage(main: Callable[[list[str] | None], int]) -> None:
    """Run a stage's main and exit: an expected failure is one sentence on stderr, a traceback means a bug.

    Unfinished folders are removed however it ends, except by SIGKILL.
    """
    show_bugs_without_text()
    signal.signal(signal.SIGTERM, _terminated)
    try:
        status = main(None)
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        status = error.status
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EPERM, errno.EDQUOT):
            raise
        print(f"error: {error.strerror}: {error.filename or 'the output folder'}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        status = 130
    except Exception as error:
        if NO_SPACE not in str(error):  # libraries in other languages raise errors of their own
            raise
        print(f"error: {NO_SPACE}: the output folder", file=sys.stderr)
        status = 2
    finally:
        abandon_all()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it has ended: only what `atexit` cleans up is left to do
    sys.exit(status)
