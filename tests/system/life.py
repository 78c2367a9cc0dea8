# SPDX-License-Identifier: MIT
"""The life of VMs: create, start, look at, stop and remove them, and what is left when something is killed."""
import hashlib
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from machine import FIRST_LINE, MULLION, PROMPT, ROOT, Terminal, case, clean, expect, kernel_options


class Home:
    """State folders of a test's own: no other test's VMs are seen, and none outlives it."""

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="mullion-life-")
        self.env = dict(os.environ)
        for variable in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
            self.env[variable] = os.path.join(self.folder, variable[4:].lower())
            os.mkdir(self.env[variable], 0o700)
        return self

    def __exit__(self, *_):
        self.run("rm", "--all", "--force")
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *words, stdin=b"", timeout=60, env=None):
        """One command, to its end: exit status, output, complaints."""
        done = subprocess.run([MULLION, *words], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=timeout, env={**self.env, **(env or {})}, cwd=self.folder, check=False)
        return done.returncode, clean(done.stdout), clean(done.stderr)

    def good(self, *words, **options):
        status, out, err = self.run(*words, **options)
        expect(status == 0, " ".join(words), f"exit status {status}\n{out}\n{err}")
        return out

    def bad(self, word, *words, status=2, **options):
        """Must fail with that status and one line that holds the word."""
        got, out, err = self.run(*words, **options)
        expect(got == status and len(err.strip().split("\n")) == 1 and word in err and not out.strip(),
               f"{' '.join(words)}: {word!r} and status {status} wanted", f"exit status {got}\n{out}\n{err}")

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def state(self, name):
        for vm in json.loads(self.good("ps", "-a", "--format", "json")):
            if vm["name"] == name:
                return vm["state"]
        return None

    def wait_state(self, name, state, seconds=20):
        end = time.monotonic() + seconds
        while self.state(name) != state:
            expect(time.monotonic() < end, f"{name} is {self.state(name)}, not {state}", self.good("ps", "-a"))
            time.sleep(0.1)

    def wait_prompt(self, name, seconds=60):
        end = time.monotonic() + seconds
        while PROMPT not in self.good("logs", name):
            expect(time.monotonic() < end, "no prompt", self.good("logs", name))
            time.sleep(0.2)

    def run_file(self, name, file):
        return os.path.join(self.env["XDG_RUNTIME_DIR"], "mullion", name, file)

    def pid(self, name):
        with open(self.run_file(name, "pid"), encoding="ascii") as file:
            return int(file.read())


@case("life: create, start, console, logs, stop, rm")
def whole_life():
    with Home() as home:
        expect(home.good("create", "--name", "web", "--memory", "256M", "--label", "tier=front") == "web\n", "name", "")
        expect(home.state("web") == "created", "state", home.good("ps", "-a"))
        expect("web" not in home.good("ps"), "ps without -a", home.good("ps"))
        expect(home.good("start", "web") == "web\n", "start prints the name", "")
        line = home.good("ps").split("\n")[1].split()
        expect(line[0] == "web" and line[1] == "running" and line[2] == "translate" and "256M" in line, "ps", str(line))
        home.wait_prompt("web")
        home.bad("runs already", "start", "web")
        out = home.good("console", "web", stdin=b"echo sum-$((40 + 2))\n")
        expect(FIRST_LINE in out and "sum-42" in out, "console shows what was and what is", out)
        expect("sum-42" in home.good("logs", "web"), "logs", home.good("logs", "web"))
        expect(FIRST_LINE not in home.good("logs", "--tail", "2", "web"), "logs --tail", "")
        stats = json.loads(home.good("stats", "--format", "json", "web"))[0]
        expect(stats["cpu-seconds"] > 0 and stats["resident"] > 1 << 20 and "vcpu 0" in stats["counters"], "stats", stats)
        home.bad("runs; ", "rm", "web")
        home.good("console", "web", stdin=b"poweroff\n")
        home.wait_state("web", "exited")
        expect("exited (0)" in home.good("ps", "-a"), "clean end", home.good("ps", "-a"))
        expect("Power down" in home.good("logs", "web"), "the log stays", home.good("logs", "web"))
        home.bad("does not run", "console", "web")
        home.bad("does not run", "stop", "web")
        home.good("rename", "web", "old.web")
        expect("Power down" in home.good("logs", "old.web"), "the log goes along", "")
        home.good("start", "old.web")
        home.good("kill", "old.web")
        expect("exited (137)" in home.good("ps", "-a"), "killed", home.good("ps", "-a"))
        home.good("rm", "old.web")
        expect(home.good("ps", "-a", "-q") == "", "nothing is left", home.good("ps", "-a"))
        left = [os.path.join(folder, name) for folder, _, names in os.walk(home.folder) for name in names]
        expect(not left, "files are left", str(left))


@case("life: the console on a terminal")
def console_terminal():
    with Home() as home:
        home.good("run", "-d", "--name", "t")
        home.wait_prompt("t")
        for number in range(2):
            with Terminal("console", "t", env=home.env) as terminal:
                terminal.wait_for(re.escape(PROMPT))
                terminal.type(f"echo round-$(({number} + 1))\n")
                terminal.wait_for(f"round-{number + 1}\n")
                terminal.type("\x01?")
                terminal.wait_for("Ctrl-A d detaches")
                terminal.type("\x01d")
                expect(terminal.end() == 0 and terminal.restored(), "detached", terminal)
        with Terminal("console", "t", env=home.env) as terminal:
            terminal.wait_for("round-2")
            terminal.type("poweroff\n")
            expect(terminal.end() == 0 and terminal.restored(), "the VM's end", terminal)
        home.wait_state("t", "exited")
        # A pseudo-terminal of its own, which status names; and the log all the same.
        log = os.path.join(home.folder, "log")
        home.run("run", "-d", "--name", "p", "--console", "pty", "--console-log", log)
        end = time.monotonic() + 60
        while PROMPT not in home.good("logs", "p"):
            expect(time.monotonic() < end, "no prompt", home.good("logs", "p"))
            time.sleep(0.2)
        name = json.loads(home.good("ps", "--format", "json"))[0]["terminal"]
        with open(name, "r+b", buffering=0) as file:
            file.write(b"echo by-$((1 + 1))-pty\n")
        while "by-2-pty" not in home.good("logs", "p"):
            expect(time.monotonic() < end, "nothing was typed", home.good("logs", "p"))
            time.sleep(0.2)
        # 1.5 MB later, there are two files of 1 MiB at most.
        home.good("console", "p", stdin=b"i=0; while [ $i -lt 1500 ]; do echo $(printf %01000d $i); i=$((i + 1)); done\n")
        home.good("console", "p", stdin=b"echo e''nd\n")
        while "end\n" not in home.good("logs", "-n", "5", "p"):
            expect(time.monotonic() < end, "no end", home.good("logs", "-n", "5", "p"))
            time.sleep(0.5)
        sizes = [os.stat(path).st_size for path in (log, f"{log}.1")]
        expect(max(sizes) < (1 << 20) + 20000 and sizes[1] >= 1 << 20, "the log's sizes", str(sizes))


@case("life: run -d and --rm")
def detached():
    with Home() as home:
        name = home.good("run", "-d", "--rm").strip()
        expect("_" in name and home.state(name) == "running", "a made-up name", name)
        home.wait_prompt(name)
        follower = subprocess.Popen([MULLION, "logs", "-f", name], env=home.env, stdout=subprocess.PIPE)
        home.good("console", name, stdin=b"poweroff\n")
        out = clean(follower.communicate(timeout=30)[0])
        expect(follower.returncode == 0 and "Power down" in out, "logs -f ends with the VM", out)
        end = time.monotonic() + 10
        while home.good("ps", "-a", "-q"):
            expect(time.monotonic() < end, "--rm left it", home.good("ps", "-a"))
            time.sleep(0.1)
        # Errors come to the starter's terminal, and leave nothing.
        home.bad("nowhere", "run", "-d", "--name", "x", "--kernel", "/nowhere")
        home.bad("nowhere.img", "run", "-d", "--name", "x", "/nowhere.img")
        home.good("create", "--name", "y", "--kernel", "/nowhere")
        home.bad("nowhere", "start", "y")
        expect(home.good("ps", "-a", "-q") == "y\n", "what was created stays", home.good("ps", "-a"))


@case("life: no terminal, folder or child is kept")
def daemon():
    with Home() as home:
        reader, writer = os.pipe()
        subprocess.run([MULLION, "run", "-d", "--name", "d"], env=home.env, pass_fds=[writer], timeout=60, check=True,
                       stdout=subprocess.DEVNULL)
        os.close(writer)
        expect(select.select([reader], [], [], 5)[0] and os.read(reader, 1) == b"", "a pipe of the starter's is kept open", "")
        os.close(reader)
        pid = home.pid("d")
        links = {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)}
        expect(links[0] == links[1] == "/dev/null" and links[2].endswith("/vmm.log"), "descriptors", str(links))
        expect(os.readlink(f"/proc/{pid}/cwd") == "/", "working folder", "")
        expect(os.getsid(pid) == pid != os.getsid(0), "session", "")
        for file in ("control.sock", "lock", "pid"):
            expect(os.stat(home.run_file("d", file)).st_mode & 0o077 == 0, f"{file} is others', too", "")


@case("life: a killed VMM is seen")
def killed():
    with Home() as home:
        home.good("run", "-d", "--name", "k")
        os.kill(home.pid("k"), signal.SIGKILL)
        home.wait_state("k", "crashed")
        expect("k" not in home.good("ps", "-q"), "ps", home.good("ps"))
        home.bad("does not run", "console", "k")
        # Its number may be somebody else's by now: only the lock counts.
        with open(home.run_file("k", "pid"), "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
        home.bad("does not run", "kill", "k")
        home.good("start", "k")
        expect(home.state("k") == "running", "starts again", home.good("ps", "-a"))
        home.good("kill", "k")
        # In the foreground and without a definition, nothing remains.
        process = subprocess.Popen([MULLION, "run", "--name", "f"], env=home.env, stdin=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        home.wait_state("f", "running")
        process.kill()
        process.wait()
        expect(home.state("f") is None and not os.path.exists(home.run_file("f", "")), "swept", home.good("ps", "-a"))


@case("life: a disk's server hangs while the guest reboots")
def hung_helper():
    """The reset waits for the server; kill does not."""
    with Home() as home:
        path = os.path.join(home.folder, "disk.qcow2")
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "16M"], check=True)
        home.good("run", "-d", "--name", "h", "--disk", path, *kernel_options(initrd="initrd-virtio.img"))
        home.wait_prompt("h")
        pid = home.pid("h")
        server = int(subprocess.run(["pgrep", "-P", str(pid), "-x", "qemu-nbd"], stdout=subprocess.PIPE,
                                    check=True).stdout)
        os.kill(server, signal.SIGSTOP)
        try:
            home.good("console", "h", stdin=b"while [ ! -e /dev/vda ]; do sleep 0.2; done; "
                      b"dd if=/dev/vda of=/dev/null count=1 iflag=direct & sleep 1; echo b >/proc/sysrq-trigger\n")
            end = time.monotonic() + 20
            while home.state("h") != "silent":
                expect(time.monotonic() < end, "the reset does not wait", home.good("ps", "-a"))
                time.sleep(0.2)
            begin = time.monotonic()
            home.run("kill", "h")
            expect(time.monotonic() - begin < 20, "kill takes its time", home.good("ps", "-a"))
            expect(home.state("h") == "crashed", "the VM's process is still there", home.good("ps", "-a"))
        finally:
            os.kill(server, signal.SIGKILL)


@case("life: a VMM that hangs", alone=True)
def silent():
    """Everything says so in time, however often it was asked; stop and kill end it."""
    with Home() as home:
        for command, least in (("kill", 0), ("stop", 4)):
            home.good("run", "-d", "--name", "s", "--memory", "128M")
            home.wait_prompt("s")
            os.kill(home.pid("s"), signal.SIGSTOP)
            for _ in range(12):  # more than wait in a socket's queue
                connection = socket.socket(socket.AF_UNIX)
                connection.setblocking(False)
                try:
                    connection.connect(home.run_file("s", "control.sock"))
                except BlockingIOError:
                    pass
            expect(home.state("s") == "silent", "state", home.good("ps", "-a"))
            expect(PROMPT in home.good("logs", "s"), "logs", home.good("logs", "s"))
            home.bad("VM s does not answer", "console", "s")
            start = time.monotonic()
            home.good(command, *(("--time", "4") if command == "stop" else ()), "s", timeout=20)
            seconds = time.monotonic() - start
            expect(least - 1 < seconds < least + 5, f"{command} took {seconds:.1f} s", "")
            expect(home.state("s") == "crashed", "state", home.good("ps", "-a"))
            home.good("rm", "s")
        # What cleans /tmp takes old sockets away.
        home.good("run", "-d", "--name", "s", "--memory", "128M")
        os.unlink(home.run_file("s", "control.sock"))
        expect(home.state("s") == "silent", "state", home.good("ps", "-a"))
        home.good("kill", "s")
        expect(home.state("s") == "crashed", "state", home.good("ps", "-a"))


@case("life: output that cannot be written")
def full_output():
    with Home() as home, open("/dev/full", "w", encoding="ascii") as full:
        for words in (["ps"], ["schema"], ["--version"], ["--help"], ["run", "--help"], ["completion", "bash"], ["image", "list"],
                      ["create", "--name", "x"], ["inspect", "x"], ["network", "ls"]):
            done = subprocess.run([MULLION, *words], env=home.env, stdout=full, stderr=subprocess.PIPE, timeout=20, check=False)
            expect(done.returncode == 1 and done.stderr.count(b"\n") == 1, " ".join(words), f"{done.returncode} {done.stderr}")


@case("life: two VMs, filters, --all")
def two():
    with Home() as home:
        home.good("run", "-d", "--name", "one", "--label", "tier=front", "--label", "n=1", "--memory", "128M")
        home.good("run", "-d", "--name", "two", "--label", "tier=back", "--memory", "128M")
        home.good("create", "--name", "three", "--label", "tier=back")
        for words, wanted in ((("-q",), "one two"), (("-q", "-a"), "one three two"),
                              (("-q", "-f", "label=tier=back"), "three two"), (("-q", "-f", "label=n"), "one"),
                              (("-q", "-f", "state=created"), "three"), (("-q", "-f", "name=w"), "two")):
            got = home.good("ps", *words).split()
            expect(got == wanted.split(), " ".join(words), str(got))
        home.wait_prompt("one")
        home.wait_prompt("two")
        home.good("console", "one", stdin=b"echo in-one\n")
        expect("in-one" not in home.good("logs", "two"), "consoles are apart", "")
        home.good("kill", "--all")
        expect(home.good("ps", "-q") == "", "kill --all", home.good("ps"))
        home.good("rm", "--all")


@case("life: many want the same name")
def same_name():
    def all_at_once(home, *words):
        running = [subprocess.Popen([MULLION, *words], env=home.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                   for _ in range(6)]
        texts = [clean(process.communicate(timeout=60)[0]) for process in running]
        expect(sorted(process.returncode for process in running) == [0] + [2] * 5, " ".join(words), "".join(texts))
        expect(all("already" in text for text in texts if text != "same\n"), " ".join(words), "".join(texts))

    with Home() as home:
        all_at_once(home, "run", "-d", "--name", "same", "--memory", "128M")
        home.good("kill", "same")
        all_at_once(home, "start", "same")
        expect(home.state("same") == "running", "the one that won", home.good("ps", "-a"))


@case("life: a guest that ignores the power button", alone=True)
def ignored():
    with Home() as home:
        home.good("run", "-d", "--name", "deaf", "--append", "console=ttyS0 quiet acpi=off")
        home.wait_prompt("deaf")
        start = time.monotonic()
        home.good("stop", "--time", "2", "deaf")
        seconds = time.monotonic() - start
        expect(1.5 < seconds < 10, f"{seconds:.1f} s", "")
        expect("exited (137)" in home.good("ps", "-a"), "killed in the end", home.good("ps", "-a"))


@case("life: VM file and options are one")
def vm_file():
    with Home() as home:
        home.file("vm.json", json.dumps({
            "memory": "256M", "timeout": 90, "no-reboot": True, "label": ["a=b"], "vsock": 7, "rng": True,
            "disk": [{"path": "x.img", "bus": "ahci", "readonly": True}],
            "net": [{"kind": "user", "model": "e1000", "forward": ["tcp:2222:22"]}]}))
        home.good("create", "--name", "file", "vm.json")
        home.good("create", "--name", "options", "--memory", "256M", "--timeout", "90", "--no-reboot", "--label", "a=b",
                  "--vsock", "7", "--rng", "--disk", "x.img,bus=ahci,readonly",
                  "--net", "user,model=e1000,forward=tcp:2222:22")
        configs = [json.loads(home.good("inspect", name))[0]["config"] for name in ("file", "options")]
        for config in configs:
            del config["name"]
        expect(configs[0] == configs[1], "they differ", str(configs))
        expect(configs[0]["disk"][0]["path"] == os.path.join(home.folder, "x.img"), "absolute", str(configs[0]))
        # Options come on top of the file; and what inspect prints can be a VM file again.
        home.file("again.json", json.dumps(configs[0]))
        home.good("create", "--name", "again", "--memory", "64M", "again.json")
        again = json.loads(home.good("inspect", "again"))[0]["config"]
        expect(again.pop("name") == "again" and again.pop("memory") == "64M", "an option wins", str(again))
        del configs[0]["memory"]
        expect(again == configs[0], "inspect's output as a VM file", f"{again}\n{configs[0]}")


@case("life: bad VM files, names and commands")
def bad_inputs():
    with Home() as home:
        deep = "[" * 5000 + "]" * 5000
        files = [
            ("", "not valid JSON"), ("{", "not valid JSON"), ("[]", "an object"), ('{"memory": "1G",}', "not valid JSON"),
            ('{\n\n"memroy": "1G"}', ":3: unknown key memroy; did you mean memory?"),
            ('{"disk": [{"pth": "a"}]}', "did you mean path?"), ('{"memory": true}', "memory"),
            ('{"memory": "lots"}', "not a size"), ('{"cpus": "1"}', "a number"), ('{"stats": "yes"}', "true or false"),
            ('{"disk": "a.img"}', "a list of objects"), ('{"disk": [{"bus": "floppy"}]}', "virtio|ahci|cdrom"),
            ('{"net": [{"kind": "tap"}]}', "tap:NAME"), ('{"name": "a", "name": "b"}', "twice"),
            ('{"name": "../../etc/passwd"}', "a name has"), ('{"console": 1}', "console"), (deep, "not valid JSON"),
            ('{"label": ["' + "x" * 100000 + '"]}', "label"), ('{"disk": [' + ",".join(["{}"] * 17) + "]}", "more than 16"),
        ]
        for number, (text, word) in enumerate(files):
            home.file(f"{number}.json", text)
            home.bad(word, "create", f"{number}.json")
        home.bad("nowhere.json", "run", "nowhere.json")
        os.mkdir(os.path.join(home.folder, "folder.json"))
        home.bad("not a plain file", "create", "folder.json")
        expect(home.good("ps", "-a", "-q") == "", "something was created", home.good("ps", "-a"))
        home.good("create", "--name", "lines", os.path.join(home.folder, "a\nb\x1b[2J.img"))
        expect(home.good("ps", "-a").count("\n") == 2 and "\x1b" not in home.good("ps", "-a"), "a row is a line", home.good("ps", "-a"))
        home.good("rm", "lines")
        home.good("create", "--name", "twin")
        home.bad("there is a VM twin already", "create", "--name", "twin")
        home.bad("there is a VM twin already", "run", "-d", "--name", "twin")
        home.bad("there is a VM twin already", "run", "--name", "twin")
        home.bad("a name has", "create", "--name", ".hidden")
        home.bad("a name has", "rename", "twin", "a/b")
        for command in ("start", "stop", "kill", "rm", "logs", "console", "inspect", "stats"):
            home.bad("no VM nobody", command, "nobody")
            home.bad("no VM ../twin", command, "../twin")
        for command in ("start", "logs", "console", "inspect", "rename"):
            home.bad("needs", command)
        for command in ("stop", "kill", "rm"):
            home.bad("say which VM", command)
        expect(home.good("help", "run") == home.good("run", "--help") and home.good("help", "image") == home.good("image", "--help"),
               "help COMMAND", home.good("help", "run"))
        home.bad("no command strat", "help", "strat")
        home.bad("unexpected", "help", "run", "it")
        home.bad("soon", "stop", "--time", "soon", "twin")
        home.bad("--format", "ps", "--format", "xml")
        home.bad("--filter", "ps", "--filter", "colour=red")
        definition = os.path.join(home.env["XDG_CONFIG_HOME"], "mullion", "vms", "twin.json")
        with open(definition, "w", encoding="utf-8") as file:
            file.write("{\n]")
        home.bad("twin.json:2: not valid JSON", "start", "twin")
        home.bad("twin.json:2: not valid JSON", "inspect", "twin")
        expect("twin" in home.good("ps", "-a"), "ps bears with it", "")
        home.bad("cannot make", "create", env={"XDG_CONFIG_HOME": definition})


def request(path, *lines):
    """Sends lines to a control socket; returns the answers, up to the end of the connection or a second's silence."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(path)
        peer.settimeout(1)
        answers = b""
        try:
            peer.sendall(b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines))
            while part := peer.recv(65536):
                answers += part
        except (TimeoutError, ConnectionError):
            pass
        return [json.loads(line) for line in answers.split(b"\n") if line]


@case("life: the control socket")
def control():
    with Home() as home:
        home.good("run", "-d", "--name", "c")
        path = home.run_file("c", "control.sock")
        home.wait_prompt("c")
        answers = request(path, {"command": "status", "id": 7}, {"command": "inspect", "id": [1]}, {"command": "nothing"},
                          {"command": 5}, {"protocol": 2, "command": "status"}, b"what?\n", b"[]\n", b"\n",
                          {"command": "stop", "time": -1}, {"command": "stop", "time": "now"},
                          {"command": "subscribe", "on": 1})
        expect(answers[0]["id"] == 7 and answers[0]["result"]["state"] == "running", "status", str(answers[0]))
        expect(answers[1]["id"] == [1] and answers[1]["result"]["config"]["name"] == "c", "inspect", str(answers[1]))
        expect(len(answers) == 10 and all("error" in answer for answer in answers[2:]), "errors", str(answers))
        # Those who talk too long, too much, or never listen are dropped; the VM does not care.
        expect(not request(path, b"x" * 70000), "a line without an end", "")
        idle = [socket.socket(socket.AF_UNIX) for _ in range(40)]
        for peer in idle:
            peer.connect(path)
        idle[0].settimeout(5)
        try:
            for _ in range(3000):
                idle[0].sendall(b'{"command":"inspect"}\n' * 50)
            dropped = False
        except OSError:
            dropped = True
        expect(dropped, "a client that never reads goes on for ever", "")
        for peer in idle:
            peer.close()
        home.wait_state("c", "running")
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(path)
            peer.settimeout(20)
            peer.sendall(b'{"command":"subscribe"}\n{"command":"reset"}\n')
            text = b""
            while b'"reset"' not in text:
                text += peer.recv(65536)
            peer.sendall(b'{"command":"kill"}\n')
            while part := peer.recv(65536):
                text += part
        expect(b'"event":"ended"' in text and b'"status":137' in text, "events", text.decode())


@case("life: foreground VMs are known, too")
def foreground():
    with Home() as home:
        process = subprocess.Popen([MULLION, "run", "--name", "fore"], env=home.env, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        home.wait_state("fore", "running")
        home.bad("on the terminal where it runs", "console", "fore")
        home.bad("fore", "run", "-d", "--name", "fore")
        home.good("kill", "fore")
        process.communicate(timeout=20)
        expect(process.returncode == 137 and home.good("ps", "-a", "-q") == "", "its end", str(process.returncode))
        # Without any folder to write to, a VM still runs in the foreground.
        result = subprocess.run([MULLION, "run"], env={**home.env, "XDG_RUNTIME_DIR": "/proc/nowhere"}, input=b"exit\n",
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, check=False)
        expect(result.returncode == 0 and FIRST_LINE in clean(result.stdout), "no folders", clean(result.stderr))


def said(home, name, commands, seconds=30):
    """Types a line into the VM's console, and returns what follows until the line's mark."""
    mark = f"mark-{time.monotonic_ns()}"
    home.good("console", name, stdin=f"{commands}; echo {mark[:4]}''{mark[4:]}\n".encode())
    end = time.monotonic() + seconds
    while True:
        log = home.good("logs", name)
        if mark in log:
            return log[log.rindex(commands[:20]):log.rindex(mark)]
        expect(time.monotonic() < end, f"{commands}: no end", log[-2000:])
        time.sleep(0.2)


@case("life: disks and network cards come and go")
def hot_plug():
    data = os.urandom(4 << 20)
    with Home() as home:
        path = os.path.join(home.folder, "hot.raw")
        with open(path, "wb") as file:
            file.write(data)
        home.good("run", "-d", "--name", "h", "--hotplug-ports", "2", *kernel_options(initrd="initrd-virtio.img"))
        home.wait_prompt("h")
        control = home.run_file("h", "control.sock")
        for _ in range(2):
            expect(home.good("attach", "h", "--disk", path) == "1\n", "port", "")
            said(home, "h", "while [ ! -e /dev/vda ]; do sleep 0.2; done; sleep 0.5")
            sum_ = said(home, "h", "sha256sum </dev/vda")
            expect(hashlib.sha256(data).hexdigest() in sum_, "contents", sum_)
            said(home, "h", "echo written >/dev/vda; sync")
            data = b"written\n" + data[8:]
            with open(path, "rb") as file:
                expect(file.read() == data, "what the guest wrote", "")
            # It is locked, as a disk from the start is.
            home.bad("hot.raw", "attach", "h", "--disk", path)
            home.good("detach", "h", "1")
            end = time.monotonic() + 30
            while "kind" in request(control, {"command": "device.list"})[0]["result"]["ports"][0]:
                expect(time.monotonic() < end, "it does not go", home.good("logs", "h")[-2000:])
            gone = said(home, "h", "ls /dev/vda")
            expect("No such file" in gone, "the guest has it still", gone)
        expect(home.good("attach", "h", "--net", "none") == "1\n", "port", "")
        said(home, "h", "while [ ! -e /sys/class/net/eth0 ]; do sleep 0.2; done")
        home.good("attach", "h", "--disk", f"{path},readonly")
        home.bad("all 2 hot-plug ports of h are taken", "attach", "h", "--net", "none")
        home.bad("nothing was plugged into port 3", "detach", "h", "3")
        home.bad("nowhere", "attach", "h", "--disk", "/nowhere")
        home.bad("unknown key", "attach", "h", "--disk", f"{path},colour=red")
        home.bad("--disk or --net", "attach", "h")
        home.bad("not a port", "detach", "h", "one")
        # A reset of the guest with devices plugged in, and its end.
        request(control, {"command": "reset"})
        home.wait_state("h", "running")
        home.good("kill", "h")
        # One open file is one disk: its lock does not keep it from itself.
        home.good("run", "-d", "--name", "twice", "--hotplug-ports", "2")
        with socket.socket(socket.AF_UNIX) as peer, open(path, "r+b") as file:
            peer.connect(home.run_file("twice", "control.sock"))
            for wanted in (b"result", b"port 1 already"):
                line = json.dumps({"command": "disk.add", "disk": {"path": path}}).encode() + b"\n"
                socket.send_fds(peer, [line], [file.fileno()])
                answer = peer.recv(65536)
                expect(wanted in answer, "a file twice", answer)
        home.good("run", "-d", "--name", "none")
        home.bad("no hot-plug ports", "attach", "none", "--net", "none")


@case("life: a picture of the screen")
def screenshot():
    with Home() as home:
        home.good("run", "-d", "--name", "s", "--vga", "--append", "console=tty0 console=ttyS0")
        home.wait_prompt("s")
        path = os.path.join(home.folder, "s.ppm")
        home.good("screenshot", "s", path)
        with open(path, "rb") as file:
            kind, size, _, data = file.read().split(b"\n", 3)
        width, height = (int(n) for n in size.split())
        expect(kind == b"P6" and len(data) == 3 * width * height and width >= 640, f"{width} x {height}", str(len(data)))
        expect(len(set(data)) > 1, "all black", "")
        home.bad("cannot write", "screenshot", "s", "/nowhere/x.ppm")
        home.bad("plain file", "screenshot", "s", home.folder)
        os.unlink(path)
        home.good("run", "-d", "--name", "blind")
        home.bad("no screen", "screenshot", "blind", path)
        expect(not os.path.exists(path), "a file is left", "")


# ---- what is said about all this ----

def commands():
    """The names that mullion --help lists."""
    with Home() as home:
        lines = home.good("--help").split("\n")
    return [line.split("  ")[1] for line in lines if line.startswith("  ") and not line.startswith("   ")]


@case("life: manual, schema and help name every key and command")
def documents():
    with Home() as home:
        schema = json.loads(home.good("schema"))
        usage = home.good("run", "--help")

    def page(name):
        with open(os.path.join(ROOT, "man", name), encoding="utf-8") as file:
            return file.read().replace("\\-", "-")

    missing = []
    for name in [line.split(" [")[0] for line in commands()]:
        words = name.split()
        while words[-1].upper() == words[-1] or words[-1].endswith("..."):
            words.pop()
        missing += [f"mullion.1: {word}" for word in words if word not in page("mullion.1")]
    for key, property_ in schema["properties"].items():
        missing += [f"mullion-run.1: --{key}"] if f"--{key}" not in page("mullion-run.1") else []
        missing += [f"run --help: {key}"] if key not in usage else []
        missing += [f"mullion-vm.5: {key}"] if key not in page("mullion-vm.5") else []
        for nested in property_.get("items", {}).get("properties", {}):
            missing += [f"mullion-vm.5: {key}.{nested}"] if f"\n.B {nested}\n" not in page("mullion-vm.5") else []
        missing += [f"schema: {key} says nothing"] if not property_["description"] else []
    expect(schema["additionalProperties"] is False and not missing, "\n".join(missing), "")


def at_zsh(home, env, line):
    """What the line becomes by the tabulator key."""
    pid, fd = pty.fork()
    if not pid:
        os.chdir(home.folder)
        os.execvpe("zsh", ["zsh", "-f", "-i"], {**env, "HOME": home.folder, "TERM": "dumb", "PS1": "ready ", "PROMPT_EOL_MARK": ""})
    said, end, step = "", time.monotonic() + 20, 0
    keys = ["source ./zsh\n", f"{line}\t"]
    try:
        while time.monotonic() < end:
            if step < 2 and "ready " in said.rpartition("\n")[2]:
                os.write(fd, keys[step].encode())
                said, step = "", step + 1
            if not select.select([fd], [], [], 1.0)[0]:
                if step == 2 and line in said:
                    break
                continue
            said += os.read(fd, 65536).decode("utf-8", "replace")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(fd)
    return said


@case("life: completion")
def completion():
    wanted = {
        "mullion sto": "stop", "mullion image in": "info", "mullion run --engine me": "metal",
        "mullion run --net ta": "tap:", "mullion run --disk a.img,bu": "a.img,bus=", "mullion stop --ti": "--time",
        "mullion run --no-bal": "--no-balloon", "mullion ps --format js": "json", "mullion start fir": "first",
        "mullion run --kernel /etc/hostn": "/etc/hostname",
    }
    with Home() as home:
        home.good("create", "--name", "first")
        script = home.file("completion", home.good("completion", "bash"))
        env = {**home.env, "PATH": f"{os.path.dirname(MULLION)}:{os.environ['PATH']}"}
        for line, word in wanted.items():
            done = subprocess.run(["bash", "-c", f"source {script}; COMP_WORDS=({line}); "
                                   "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _mullion; echo ${COMPREPLY[*]}"],
                                  env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
            expect(done.stdout.split() == [word] and not done.stderr, line, f"{done.stdout}\n{done.stderr}")
        spaced = home.file("a file.img", "")
        done = subprocess.run(["bash", "-c", f"source {script}; COMP_WORDS=(mullion run '{spaced[:-6]}'); COMP_CWORD=2; _mullion; "
                               "echo ${#COMPREPLY[@]} ${COMPREPLY[0]}"], env=env, capture_output=True, text=True, check=False)
        expect(done.stdout == f"1 {spaced}\n", "a name with a space", f"{done.stdout}\n{done.stderr}")
        home.file("zsh", home.good("completion", "zsh"))
        home.file("fish", home.good("completion", "fish"))
        if shutil.which("zsh"):
            for line, word in wanted.items():
                said = at_zsh(home, env, line)
                expect(f"{line.rpartition(' ')[0]} {word}" in said, f"zsh: {line}", said)
        if shutil.which("fish"):
            for line, word in wanted.items():
                done = subprocess.run(["fish", "-N", "-c", f"source fish; complete -C '{line}'"], env={**env, "HOME": home.folder},
                                      cwd=home.folder, capture_output=True, text=True, check=False)
                expect(done.stdout.split() == [word] and not done.stderr, f"fish: {line}", f"{done.stdout}\n{done.stderr}")
        home.bad("there are bash, zsh and fish", "completion", "csh")
