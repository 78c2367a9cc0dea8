# SPDX-License-Identifier: MIT
"""Running the program from a test: through pipes, or on a terminal of its own."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import tempfile
import termios
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
MULLION = os.environ.get("MULLION", os.path.join(ROOT, "build", "mullion"))
IMAGES = os.path.join(ROOT, "images")
FIRST_LINE = "Mullion guest: kernel"
PROMPT = "guest:~# "
# A boot takes a few seconds; a loaded machine is given much more.
LONG = 120


# The tests' VMs are nobody else's: their names, locks and logs are in folders that go with us.
STATE = tempfile.TemporaryDirectory(prefix="mullion-test-")
for variable in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
    os.environ[variable] = os.path.join(STATE.name, variable[4:].lower())
    os.mkdir(os.environ[variable], 0o700)

CASES = []


def case(name, alone=False):
    """Adds the function to the list; alone: it measures time, so nothing else may run."""
    def add(function):
        function.name = name
        function.alone = alone
        CASES.append(function)
        return function
    return add


class Failure(Exception):
    pass


def image(name):
    return os.path.join(IMAGES, name)


def kernel_options(kernel="cloud", initrd="initrd.img", append=""):
    return ["--kernel", image(f"vmlinuz-{kernel}"), "--initrd", image(initrd),
            "--append", f"console=ttyS0 quiet {append}".strip()]


class Result:
    def __init__(self, status, out, err, seconds):
        self.status, self.out, self.err, self.seconds = status, out, err, seconds

    def __str__(self):
        return f"exit status {self.status}, {self.seconds:.1f} s\n--- out\n{self.out}\n--- err\n{self.err}"


def clean(data):
    """What a person would read: no carriage returns, no terminal control."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", (data or b"").decode("utf-8", "replace").replace("\r", ""))


def mullion(*options, stdin=b"", timeout=LONG, wrap=()):
    """Runs the program to its end; stdin is bytes for a pipe, or a file or None as in subprocess."""
    start = time.monotonic()
    kind = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    try:
        done = subprocess.run([*wrap, MULLION, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=timeout, **kind)
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{' '.join(options)}: no end after {timeout} s\n"
                      f"{clean(error.stdout)[-2000:]}\n{clean(error.stderr)[-2000:]}") from None
    return Result(done.returncode, clean(done.stdout), clean(done.stderr), time.monotonic() - start)


def expect(condition, what, result):
    if not condition:
        raise Failure(f"{what}\n{result}")


class Terminal:
    """The program on a pseudo-terminal: type, and wait for what it prints."""

    def __init__(self, *options, env=None):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.text = ""
        self.process = subprocess.Popen([MULLION, *options], stdin=self.slave, stdout=self.slave,
                                        stderr=self.slave, start_new_session=True, env=env)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def __str__(self):
        return f"--- terminal\n{self.text[-3000:]}"

    def type(self, keys):
        os.write(self.master, keys.encode())

    def wait_for(self, pattern, timeout=LONG):
        """Waits until the text that came since the last match holds the pattern."""
        end = time.monotonic() + timeout
        while True:
            match = re.search(pattern, self.text)
            if match:
                self.text = self.text[match.end():]
                return match
            left = end - time.monotonic()
            if left <= 0 or not self.read(left):
                raise Failure(f"waited {timeout} s for {pattern!r}\n{self}")

    def read(self, timeout):
        ready, _, _ = select.select([self.master], [], [], min(timeout, 0.2))
        if ready:
            self.text += clean(os.read(self.master, 65536))
        return ready or self.process.poll() is None

    def run(self, line, timeout=LONG):
        """Types a command at the prompt and returns what it printed."""
        self.type(line + "\n")
        self.wait_for(re.escape(line) + r"\n", timeout)
        return self.wait_for(r"(?s)(.*?)" + re.escape(PROMPT), timeout).group(1)

    def end(self, timeout=LONG):
        """Waits for the program's end; returns its exit status."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise Failure(f"no end after {timeout} s\n{self}")
            self.read(0.1)
        while self.read(0.05) and select.select([self.master], [], [], 0)[0]:
            pass
        return self.process.returncode

    def restored(self):
        return termios.tcgetattr(self.slave) == self.before

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resize(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def interrupt(self):
        self.process.send_signal(signal.SIGTERM)
