"""The chain of tools as the tests drive it: real programs, real distributions, real files.

Nothing is replaced by a stand-in. What costs minutes (CPython from source) or seconds (a runner, bytecode)
is in the user's cache after the first run, so that an application is packaged in a second.
"""

import dataclasses
import difflib
import functools
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import textwrap
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
# For commits.
GIT = {f"GIT_{who}_{what}": "tests@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
# How many times as long as usual commands may take, such as under an emulator.
PATIENCE = int(os.environ.get("PYOX_TEST_PATIENCE", "1"))
STAGES = ("fetch", "collect", "pack", "link", "inspect")


def clean_environment():
    """This process's environment without what would change how Python or pyox behave."""
    drop = ("PYTHON", "PYOX_", "LC_", "LANG", "LOCPATH", "LD_", "GLIBC_TUNABLES", "COLUMNS", "TERMINFO", "INPUTRC", "NO_COLOR", "FORCE_COLOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(drop)}
    if "PYOX_CACHE_DIR" in os.environ:
        kept["PYOX_CACHE_DIR"] = os.environ["PYOX_CACHE_DIR"]
    return kept | {"LC_ALL": "C.UTF-8"}


def run(*command, check=True, env=None, timeout=120, text=True, **options):
    """Runs a command to its end; with `check` a failure shows what the command said."""
    options.setdefault("stdin", None if "input" in options else subprocess.DEVNULL)
    if "input" in options:
        del options["stdin"]
    streams = {} if "stdout" in options or "stderr" in options else {"capture_output": True}
    done = subprocess.run(
        [os.fspath(part) if not isinstance(part, bytes) else part for part in command],
        env=clean_environment() if env is None else env,
        timeout=timeout * PATIENCE,
        text=text,
        errors="surrogateescape" if text else None,
        **streams,
        **options,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{command} gave {done.returncode}:\n{done.stderr}\n{done.stdout}")
    return done


def cache_folder():
    """Where pyox keeps what it has made, as this process's environment has it."""
    return Path(os.environ.get("PYOX_CACHE_DIR") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "pyox"))


def in_root(name, *command, bind=(), **options):
    """Runs a command in a root folder of `scripts/roots`, with its own PATH. `bind` names folders that it sees."""
    binds = [word for folder in bind for word in ("--bind", folder)]
    environment = clean_environment() | {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    # It names a folder of this machine.
    environment.pop("QEMU_LD_PREFIX", None)
    return run(REPOSITORY / "scripts/roots", name, *binds, "--", *command, env=environment, **options)


@dataclasses.dataclass(frozen=True)
class Distribution:
    """A distribution that pyox-fetch has obtained, and the `python` that it was taken from."""

    spec: str
    document: Path

    @functools.cached_property
    def json(self):
        return json.loads(self.document.read_text())

    @property
    def version(self):
        return self.json["python"]["version"]

    @property
    def minor(self):
        return tuple(self.json["python"]["version_info"])

    @property
    def python(self):
        return Path(self.json["root"], self.json["paths"]["executable"])

    @property
    def stdlib(self):
        return Path(self.json["root"], self.json["paths"]["stdlib"])

    def run_python(self, *arguments, **options):
        """The distribution's own interpreter, isolated as an executable of pyox is."""
        return run(self.python, "-I", "-S", *arguments, **options)


@dataclasses.dataclass(frozen=True)
class Chain:
    """The tools in one folder, used with one environment."""

    folder: Path
    environment: dict = dataclasses.field(default_factory=clean_environment)

    def with_environment(self, **changes):
        """The same tools, with other variables."""
        return dataclasses.replace(self, environment=self.environment | changes)

    def tool(self, stage):
        return self.folder / f"pyox-{stage}"

    def __call__(self, stage, *arguments, **options):
        return run(self.tool(stage), *arguments, **({"env": self.environment} | options))

    def fetch(self, spec, document, **options):
        self("fetch", spec, "-o", document, **options)
        return Distribution(spec, Path(document))

    def manifest(self, folder, distribution, *collect, name="app", edit=None, cwd=None):
        """Collects into `folder`; `edit` may change the manifest, as `jq` would."""
        path = folder / f"{name}.json"
        self("collect", "-d", distribution.document, *collect, "-o", path, cwd=cwd)
        if edit is not None:
            manifest = json.loads(path.read_text())
            edit(manifest)
            path.write_text(json.dumps(manifest))
        return path

    def blob(self, folder, distribution, *collect, name="app", pack=(), edit=None, cwd=None):
        manifest = self.manifest(folder, distribution, *collect, name=name, edit=edit, cwd=cwd)
        path = folder / f"{name}.blob"
        self("pack", *pack, manifest, "-d", distribution.document, "-o", path, cwd=cwd)
        return path

    def build(self, folder, distribution, *collect, name="app", pack=(), link=(), edit=None, cwd=None):
        """Collects, packs and links: an executable in `folder`."""
        if PORTABLE in link:
            collect = (*collect, "--libpython")
        blob = self.blob(folder, distribution, *collect, name=name, pack=pack, edit=edit, cwd=cwd)
        path = folder / name
        self("link", blob, "-d", distribution.document, *link, "-o", path)
        return path

    def build_script(self, folder, distribution, source, *collect, name="app", **options):
        """An executable of a script."""
        script = write(folder / f"{name}.py", source)
        return self.build(folder, distribution, script, *collect, name=name, **options)


# The argument of `pyox-link` for an executable with libpython in its blob.
PORTABLE = "--shape=portable"


def making(path):
    """What tells a file from one that was made later under its name; none if there is none. A number alone can come again."""
    return (path.stat().st_ino, path.stat().st_ctime_ns) if path.exists() else None


def write(path, source):
    """Writes an indented source text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(source).lstrip("\n"))
    return path


def ask(executable, code, *arguments, **options):
    """What the code, run by an executable of the `probe` application, prints as JSON."""
    done = run(executable, textwrap.dedent(code), *arguments, **options)
    return json.loads(done.stdout)


def site_packages(root, distribution):
    """Where installed projects lie below an executable, or in a tree."""
    major, minor = distribution.minor[:2]
    return f"{root}/lib/python{major}.{minor}/site-packages"


def require(*tools):
    """Fails when a tool of the platform is missing: a test must not pass because of that."""
    for tool in tools:
        assert shutil.which(tool), f"{tool} is not installed: run scripts/system"


def certify(folder, *hosts):
    """Makes `root.pem`, a certificate authority, and `server.pem`, its certificate for some hosts with its key."""
    require("openssl")
    new = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    run(*new, "-subj", "/CN=authority", "-addext", "keyUsage=critical,keyCertSign", "-keyout", "root.key", "-out", "root.pem", cwd=folder)
    names = ",".join(f"DNS:{host}" for host in hosts)
    run(*new, "-subj", f"/CN={hosts[0]}", "-addext", f"subjectAltName={names}", "-addext", "basicConstraints=critical,CA:FALSE",
        "-CA", "root.pem", "-CAkey", "root.key", "-keyout", "server.key", "-out", "server.pem", cwd=folder)
    with (folder / "server.pem").open("a") as chain:
        chain.write((folder / "server.key").read_text())
    return folder


def normal(text, folder):
    """The text without what lies before the application's own paths."""
    text = text.replace(f"{folder}/", "").replace(str(folder), "")
    # Addresses, thread numbers and the place of an installed standard library differ from run to run.
    text = re.sub(r"0x[0-9a-f]{6,}", "0x", text)
    # faulthandler of 3.14 names the program and the functions of C.
    text = re.sub(r"(?m)^((?:Current t|T)hread 0x) \[\S+\]", r"\1", text)
    text = re.sub(r"(?s)\n?Current thread's C stack trace .*", "", text)
    return re.sub(r"""[^\s"'(]*lib/python3\.\d+/""", "", text)


def compare(executable, python, script, *arguments, **options):
    """Exit status, output and errors of both, which must be the same."""
    options = {"check": False, "timeout": 60} | options
    ours = run(executable, *arguments, **options)
    theirs = run(python, "-E", "-s", "-S", script, *arguments, **options)
    folder = script.parent
    packed = Path(executable, "app")
    one = (ours.returncode, normal(ours.stdout, packed), normal(ours.stderr, packed))
    other = (theirs.returncode, normal(theirs.stdout, folder), normal(theirs.stderr, folder))
    differences = [line for kind in (1, 2) for line in difflib.unified_diff(other[kind].splitlines(), one[kind].splitlines(), "python", "pyox", lineterm="", n=0)]
    assert not differences, "\n".join(differences)
    assert one == other
    return ours


def terminal(command, typed, **variables):
    """Exit status and screen of a program in a terminal, in which someone types.

    `typed` has pairs: what the program must have shown since the last one, and what is typed once it has and has
    fallen silent. What comes too early, while it is not reading keys, the terminal itself would edit.
    """
    process, master = pty.fork()
    if process == 0:
        try:
            os.execve(command[0], list(map(os.fspath, command)), clean_environment() | {"TERM": "dumb"} | variables)
        finally:
            os._exit(127)
    shown, seen, typed = b"", 0, list(typed)
    while True:
        expected = bool(typed) and typed[0][0] in shown[seen:]
        quiet = not select.select([master], [], [], 0.3 if expected else 30)[0]
        if quiet and not expected:
            os.kill(process, signal.SIGKILL)
        elif quiet:
            seen = len(shown)
            os.write(master, typed.pop(0)[1])
        try:
            data = b"" if quiet else os.read(master, 4096)
        except OSError:
            # The program has closed its side.
            break
        shown += data
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), shown.decode()


# To be put in front of code: `handshake(chain, context)`, what a TLS server on this machine says, or why it is
# not trusted. `chain` names the file of the server's certificate and key, `context` is the client's.
HANDSHAKE = """
def handshake(chain, context):
    import socket, ssl, threading
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        try:
            with server.wrap_socket(listener.accept()[0], server_side=True) as stream:
                stream.sendall(b"trusted")
        except OSError:
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with context.wrap_socket(socket.create_connection(listener.getsockname()), server_hostname="localhost") as stream:
            return stream.recv(7).decode()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    finally:
        thread.join()
        listener.close()
"""
