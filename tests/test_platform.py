"""What an executable takes from the machine that it runs on: certificates, time zones, terminals and the locale.

The layouts of several distributions are made in a mount namespace of the test's own.
"""

import json
import os
import textwrap

import pytest

from chain import HANDSHAKE, clean_environment, compare, require, run, terminal, write


def in_layout(mounts, files, *command, **options):
    """Runs a command where the folders `mounts` hold nothing but `files`, of which each is a copy of another."""
    require("unshare", "mount")
    steps = [f"mount -t tmpfs tmpfs {folder}" for folder in mounts]
    steps += [f"mkdir -p $(dirname {path}) && cp -R {file} {path}" for path, file in files.items()]
    return run("unshare", "--mount", "sh", "-ec", " && ".join([*steps, 'exec "$@"']), "sh", *command, **options)


# --- Certificates -----------------------------------------------------------------


CERTIFICATES = {
    "Debian": "/etc/ssl/certs/ca-certificates.crt",
    "Red Hat": "/etc/pki/tls/certs/ca-bundle.crt",
    "Red Hat, extracted": "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "Alpine": "/etc/ssl/cert.pem",
    "SUSE": "/etc/ssl/ca-bundle.pem",
    "of OpenSSL itself": "/usr/lib/ssl/cert.pem",
    "by their hashes": "/usr/lib/ssl/certs/{hash}.0",
    "hashes that are none": "/usr/lib/ssl/certs/README",
}
TRUST = HANDSHAKE + textwrap.dedent("""
    import ssl, sys, urllib.request
    print(handshake(sys.argv[1], ssl.create_default_context()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_default_verify_paths()
    print(handshake(sys.argv[1], context))
""")
TRUSTED, NOT_TRUSTED = "trusted\n" * 2, "unable to get local issuer certificate\n" * 2
WITHOUT_VARIABLES = {name: value for name, value in clean_environment().items() if not name.startswith("SSL_CERT")}


@pytest.fixture
def trust(probes, each_minor, authority):
    """What the probe says of a server that the authority has certified, where its roots are at a path."""

    def ask_in_layout(*paths, **variables):
        files = {path: authority / "root.pem" for path in paths}
        options = {"env": WITHOUT_VARIABLES | variables}
        command = (probes(each_minor), TRUST, authority / "server.pem")
        return in_layout(["/etc", "/usr/lib/ssl"], files, *command, **options).stdout

    return ask_in_layout


@pytest.mark.parametrize("layout", CERTIFICATES)
def test_certificates_of_the_system(trust, authority, layout):
    hashed = run("openssl", "x509", "-subject_hash", "-noout", "-in", authority / "root.pem").stdout.strip()
    path = CERTIFICATES[layout].format(hash=hashed)
    assert trust(path) == (NOT_TRUSTED if path.endswith("README") else TRUSTED)


def test_a_folder_without_hashes_hides_no_certificates(trust):
    """As on Red Hat, where OpenSSL's folder holds one file with all."""
    assert trust("/usr/lib/ssl/certs/ca-bundle.crt", "/etc/pki/tls/certs/ca-bundle.crt") == TRUSTED


def test_variables_say_where_certificates_are(trust, authority, tmp_path):
    assert trust() == NOT_TRUSTED
    assert trust(SSL_CERT_FILE=str(authority / "root.pem")) == TRUSTED
    # What they name is all that is trusted.
    everywhere = [path for path in CERTIFICATES.values() if "hash" not in path]
    for variables in {"SSL_CERT_FILE": str(tmp_path / "absent")}, {"SSL_CERT_DIR": str(tmp_path)}:
        assert trust("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", **variables) == NOT_TRUSTED
    assert trust(*everywhere, SSL_CERT_FILE=str(authority / "root.pem"), SSL_CERT_DIR=str(tmp_path)) == TRUSTED


# --- Time zones -------------------------------------------------------------------


ZONES = """
    import datetime, pickle, zoneinfo
    try:
        zone = zoneinfo.ZoneInfo("Europe/Berlin")
    except zoneinfo.ZoneInfoNotFoundError as error:
        print("not found:", error)
    else:
        for month in 1, 7:
            print(datetime.datetime(2024, month, 1, 12, tzinfo=zone).isoformat(), pickle.loads(pickle.dumps(zone)) is zone)
        print(len(zoneinfo.available_timezones()) > 400, zoneinfo.ZoneInfo("America/New_York"))
"""


def test_time_zones_of_the_system(probes, each_minor, probe_source):
    code = write(probe_source / "code.txt", ZONES + "    print(zoneinfo.TZPATH)").read_text()
    done = compare(probes(each_minor), each_minor.python, probe_source / "probe.py", code)
    assert done.stdout.startswith("2024-01-01T12:00:00+01:00 True\n2024-07-01T12:00:00+02:00 True\nTrue America/New_York\n")


def test_time_zones_of_the_wheel(pyox, probes, each_minor, tmp_path):
    """Where the system has none, those of the project `tzdata` are used."""
    code = textwrap.dedent(ZONES)
    assert in_layout(["/usr/share/zoneinfo"], {}, probes(each_minor), code).stdout.startswith("not found: ")
    app = pyox.build_script(tmp_path, each_minor, code, "--with", "tzdata==2025.2")
    done = in_layout(["/usr/share/zoneinfo"], {}, app)
    assert done.stdout.startswith("2024-01-01T12:00:00+01:00 True\n2024-07-01T12:00:00+02:00 True\nTrue America/New_York\n")


# --- Terminals --------------------------------------------------------------------


# Debian's next release has no `/lib/terminfo`.
TERMINFO = tuple(folder for folder in ("/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo") if os.path.isdir(folder))
COLUMNS = """
import curses, json, os
try:
    curses.setupterm("unheard-of", os.open("/dev/null", os.O_WRONLY))
    print(json.dumps([curses.tigetnum("cols"), curses.tigetstr("clear").decode()]))
except curses.error as error:
    print(json.dumps(str(error)))
"""


@pytest.fixture(scope="module")
def descriptions(tmp_path_factory):
    """A folder with the description of one terminal, which has 77 columns."""
    require("tic")
    folder = tmp_path_factory.mktemp("terminfo")
    write(folder / "source", "unheard-of|a terminal,\n\tcols#77, clear=CLEAR, cup=CUP,\n")
    run("tic", "-o", folder / "compiled", folder / "source")
    return folder / "compiled"


def test_descriptions_of_terminals(probes, each_minor, descriptions, tmp_path):
    """In the folders of Debian and most others, in the user's, and where variables say."""

    def found(files=(), **variables):
        environment = clean_environment() | {"HOME": str(tmp_path)} | variables
        files = {f"{folder}/u": descriptions / "u" for folder in files}
        return json.loads(in_layout(TERMINFO, files, probes(each_minor), COLUMNS, env=environment).stdout)

    missing = found()
    assert "could not find" in missing
    for folder in TERMINFO:
        assert found([folder]) == [77, "CLEAR"], folder
    assert found(TERMINFO=str(descriptions)) == [77, "CLEAR"]
    assert found(TERMINFO_DIRS=f"/absent:{descriptions}:") == [77, "CLEAR"]
    assert found([TERMINFO[-1]], TERMINFO_DIRS="/absent:") == [77, "CLEAR"]
    (tmp_path / ".terminfo").symlink_to(descriptions)
    assert found() == [77, "CLEAR"]


def test_a_program_that_fills_the_screen(probes, each_minor):
    code = """
import curses

def main(screen):
    curses.start_color()
    curses.init_pair(1, curses.COLOR_RED, curses.COLOR_BLACK)
    screen.addstr(2, 5, "größer", curses.color_pair(1))
    screen.refresh()
    return screen.getkey(), screen.getkey()

print("keys", *curses.wrapper(main))
"""
    status, shown = terminal([probes(each_minor), code], [("größer".encode(), b"x\x1bOA")], TERM="xterm-256color")
    assert status == 0 and "keys x KEY_UP" in shown and "größer" in shown, shown
    assert "\x1b[31m" in shown and "\x1b[3;6H" in shown


def test_lines_are_edited_with_readline(probes, each_minor):
    """Cursor keys, the history and completion, with GNU readline or libedit."""
    code = """
import readline, rlcompleter
readline.parse_and_bind("bind ^I rl_complete" if "libedit" in readline.__doc__ else "tab: complete")
readline.set_completer(lambda text, state: ["completed", None][state] if text == "com" else None)
print("<", input("? "), ">")
print("<", input("? "), ">")
print("<", input("? "), ">", readline.get_current_history_length(), readline.get_history_item(1))
"""
    typed = [(b"? ", b"ac\x1b[Db\r"), (b"? ", b"\x1b[A\x7fd\r"), (b"? ", b"com\t\r")]
    status, shown = terminal([probes(each_minor), code], typed, TERM="xterm")
    assert status == 0 and "< abc >" in shown, shown
    assert "< adc >" in shown or "< abd >" in shown, shown
    assert "< completed" in shown and "> 3 abc" in shown, shown


def test_a_session_with_its_keys(probes, each_minor):
    """The interpreter within, in a terminal: prompt, editing, history, and `exit` without `site`."""
    typed = [(b">>> ", b"1 + 4\x1bOD3\r"), (b">>> ", b"\x1bOA\x7f5\r"), (b">>> ", b"exit(7)\r")]
    status, shown = terminal([probes(each_minor)], typed, TERM="xterm", PYOX_INTERPRETER="1")
    assert status == 7 and ">>> " in shown, shown
    assert "35" in shown, shown


def test_words_that_site_adds_to_a_session(probes, each_minor, pyox, tmp_path):
    """`exit`, `quit` and `help`, as python with `site` has them; input that is no terminal is a script."""
    typed = "print(exit, quit, help)\nhelp(len)\nimport builtins\nprint(type(builtins.exit).__name__)\nquit(5)\n"
    repl = pyox.build(tmp_path, each_minor, "--repl", name="repl")
    theirs = run(each_minor.python, "-I", input=typed, check=False)
    interpreter = run(probes(each_minor), "-", input=typed, check=False, env=clean_environment() | {"PYOX_INTERPRETER": "1"})
    for ours in run(repl, input=typed, check=False), interpreter:
        assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)
    assert theirs.returncode == 5 and "Return the number of items in a container." in theirs.stdout


# --- The locale -------------------------------------------------------------------


TEXT = r"""
    import locale, os, subprocess, sys, time
    print(locale.setlocale(locale.LC_ALL, ""), locale.getlocale(), locale.localeconv()["decimal_point"], sys.flags.utf8_mode)
    os.mkdir("folder")
    for name in b"gr\xc3\xb6\xc3\x9fer", b"\xff\xfe", "\u65e5\u672c".encode():
        with open(os.path.join(b"folder", name), "w", encoding="utf-8") as stream:
            stream.write("text \xf6")
    for name in sorted(os.listdir("folder")):
        print(ascii(name), os.fsencode(name), open(os.path.join("folder", name), "rb").read(), os.path.getsize(os.path.join("folder", name)))
    print(ascii(subprocess.run(["printf", "%s", os.fsdecode(b"gr\xc3\xb6\xff")], capture_output=True).stdout))
    os.environ["NAME"] = os.fsdecode(b"\xc3\xb6\xff")
    print(os.environb[b"NAME"], ascii(subprocess.run("printf %s $NAME", shell=True, capture_output=True).stdout))
    print(ascii(time.strftime("%A %d %B", (2024, 7, 1, 0, 0, 0, 0, 183, 0))), locale.strcoll("a", "B") > 0, locale.strxfrm("a"))
    print(ascii("gr\xf6\xdfer".upper()), "\u0130".lower().encode())
    print(open(os.devnull).encoding, locale.getpreferredencoding(False), sys.getfilesystemencoding(), flush=True)
    print(ascii(sys.stdin.readline()))
"""


@pytest.fixture(scope="session")
def locales(tmp_path_factory):
    """A folder of compiled locales, as LOCPATH wants it."""
    require("localedef")
    folder = tmp_path_factory.mktemp("locales")
    for name in ("de_DE.UTF-8", "de_DE.ISO-8859-1", "tr_TR.UTF-8", "ja_JP.EUC-JP"):
        language, _, charmap = name.partition(".")
        run("localedef", "-i", language, "-f", charmap, folder / name)
    return folder


@pytest.mark.parametrize("name", ["C.UTF-8", "C", "de_DE.UTF-8", "de_DE.ISO-8859-1", "tr_TR.UTF-8", "ja_JP.EUC-JP", "absent_LOCALE.UTF-8"])
def test_text_and_names_of_files(probes, each_minor, probe_source, locales, tmp_path, name):
    """As under python, in every locale; one that the system lacks is an error in both."""
    # Each makes its files in a folder of its own.
    header = "    import os, tempfile\n    os.chdir(tempfile.mkdtemp(dir=os.getcwd()))"
    code = write(probe_source / "code.txt", header + TEXT).read_text()
    environment = {variable: value for variable, value in clean_environment().items() if variable != "LC_ALL"}
    options = {"env": environment | {"LC_ALL": name, "LOCPATH": str(locales)}, "cwd": tmp_path, "input": "größer\n"}
    done = compare(probes(each_minor), each_minor.python, probe_source / "probe.py", code, **options)
    # The line on stdin is no text in EUC-JP, which 3.15 does not ask for.
    fails = "absent" in name or ("JP" in name and each_minor.minor < (3, 15))
    assert done.returncode == (1 if fails else 0), done.stderr


ANYWHERE = r"""
    import importlib.resources, inspect, json, multiprocessing, os, pkgutil, sys
    import _decimal, space.one

    def double(number):
        return 2 * number

    if __name__ == "__main__":
        folder = os.path.dirname(sys.executable)
        assert os.fsencode(folder) == os.environb[b"FOLDER"] and os.path.samefile(sys.executable, "/proc/self/exe"), ascii(folder)
        assert sys.path[0] == os.path.join(sys.executable, "app") and sys.argv[0] == os.fsdecode(b"./app"), ascii(sys.path)
        assert __file__ == os.path.join(sys.path[0], "main.py") == double.__code__.co_filename and os.path.isfile(__file__), ascii(__file__)
        text = open(__file__).read()
        assert text == inspect.getsource(sys.modules["__main__"]) and "def double" in text
        assert json.__path__ == [os.path.join(sys.path[1], "json")] and "decoder.py" in os.listdir(json.__path__[0])
        assert json.__spec__.cached.startswith(json.__path__[0]) and json.__spec__.origin == json.__file__
        assert list(space.__path__)[0] == os.path.join(sys.path[0], "space") and space.one.VALUE == 1
        assert {module.name for module in pkgutil.iter_modules(json.__path__)} >= {"decoder", "encoder"}
        assert importlib.resources.files("space").joinpath("data.txt").read_text() == "data"
        assert json.__loader__.get_data(os.path.join(sys.path[0], "space/data.txt")) == b"data"
        if hasattr(_decimal, "__file__"):
            assert os.path.dirname(_decimal.__file__) == sys.path[2] and os.path.exists(_decimal.__file__)
        for path in os.path.join(sys.executable, "none.py"), os.fsdecode(b"/\xff"):
            try:
                json.__loader__.get_data(path)
            except FileNotFoundError as error:
                assert error.filename == path
            else:
                raise AssertionError(ascii(path))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(pool.map(double, [21]))
"""


@pytest.mark.parametrize(
    ("folder", "locale"),
    [(b"gr\xc3\xb6\xc3\x9fer", "C.UTF-8"), (b"\xff\xfe", "C.UTF-8"), (b"gr\xc3\xb6\xc3\x9fer", "C"), (b"gr\xf6\xdfer", "de_DE.ISO-8859-1"), (b"\xc3\xb6", "de_DE.ISO-8859-1")],
    ids=["text", "no text", "C", "Latin-1", "UTF-8 under Latin-1"],
)
def test_a_folder_of_any_name(pyox, each_minor, locales, tmp_path, folder, locale):
    """The executable's path is what Python decodes, and everything that begins with it is found there."""
    write(tmp_path / "space/one.py", "VALUE = 1\n")
    write(tmp_path / "space/data.txt", "data")
    script = write(tmp_path / "main.py", ANYWHERE)
    app = pyox.build(tmp_path, each_minor, script, tmp_path / "space")
    place = os.path.join(os.fsencode(tmp_path), folder)
    os.mkdir(place)
    os.rename(app, os.path.join(place, b"app"))
    environment = {name: value for name, value in clean_environment().items() if name != "LC_ALL"}
    environment |= {"LC_ALL": locale, "LOCPATH": str(locales), "FOLDER": os.fsdecode(place)}
    done = run("./app", cwd=place, env=environment)
    assert (done.stdout, done.stderr) == ("[42]\n", "")


SERVICES = """
    passwd: files systemd
    group: compat systemd
    shadow: files systemd
    gshadow: files systemd
    initgroups: files systemd
    hosts: files mymachines resolve [!UNAVAIL=return] dns myhostname
    networks: db files
    protocols: db files
    services: db files
    ethers: db files
    rpc: db files
    netgroup: nis
"""


def test_name_services_that_are_libraries(pyox, source, tmp_path):
    """A static executable cannot load them; it asks the system's files and DNS, and does not crash."""
    code = """
        import grp, os, pwd, socket
        try:
            # First: once something was looked up, the services are settled.
            print(os.getlogin())
        except OSError as error:
            print(type(error).__name__)
        print(os.path.expanduser("~nosuch"), os.path.expanduser("~root"), len(pwd.getpwall()) > 3, len(grp.getgrall()) > 3)
        asked = [
            lambda: pwd.getpwnam("nosuch"), lambda: pwd.getpwuid(123456), lambda: grp.getgrnam("nosuch"), lambda: grp.getgrgid(123456),
            lambda: socket.getservbyname("nosuch"), lambda: socket.getprotobyname("nosuch"), lambda: socket.gethostbyname("nosuch.invalid"),
            lambda: socket.getaddrinfo("nosuch.invalid", 80), lambda: os.getgrouplist("nosuch", 7),
        ]
        for question in asked:
            try:
                print(question())
            except (KeyError, OSError) as error:
                print(type(error).__name__)
        print(pwd.getpwuid(0).pw_name, socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)[0][4])
    """
    app = pyox.build_script(tmp_path, source, code, link=("--static",))
    write(tmp_path / "nsswitch.conf", SERVICES)
    require("unshare", "mount")
    # Who has logged in is a user that the system's files do not have.
    write(tmp_path / "loginuid", "123456")
    mounts = [f"mount --bind {tmp_path}/nsswitch.conf /etc/nsswitch.conf", f"mount --bind {tmp_path}/loginuid /proc/$$/loginuid"]
    done = run("unshare", "--mount", "sh", "-ec", "; ".join([*mounts, f"exec {app}"]))
    lines = done.stdout.splitlines()
    assert lines[:2] == ["OSError", "~nosuch /root True True"]
    assert lines[2:] == ["KeyError"] * 4 + ["OSError"] * 2 + ["gaierror"] * 2 + ["[7]", "root ('127.0.0.1', 80)"]
