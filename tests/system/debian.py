# SPDX-License-Identifier: MIT
"""
A whole Debian, made by `mullion image build debian`: boots to a login prompt without a failed
unit, is reached by ssh, installs a package through the network, and powers off.
"""
import fcntl
import functools
import http.server
import os
import socket
import subprocess
import tempfile
import threading

from disks import TOOLS, tool
from machine import IMAGES, LONG, MULLION, Failure, Terminal, case

# Another folder than images/ may hold the image, since it takes minutes to make.
FOLDER = os.environ.get("DEBIAN_IMAGE", IMAGES)
IMAGE, KEY = os.path.join(FOLDER, "debian.img"), os.path.join(FOLDER, "debian.key")
USER, PASSWORD = "debian", "mullion"
PACKAGE = "hello"


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def make_image():
    with tempfile.TemporaryDirectory() as folder:
        secret = os.path.join(folder, "password")
        with open(secret, "w", encoding="ascii") as file:
            file.write(PASSWORD + "\n")
        if not os.path.exists(KEY):
            tool("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", KEY)
        done = subprocess.run([MULLION, "image", "build", "debian", "--output", IMAGE, "--size", "3G", "--user", USER,
                               "--password-file", secret, "--ssh-key", KEY + ".pub"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=TOOLS)
        if done.returncode:
            raise Failure(f"image build: exit status {done.returncode}\n{done.stdout.decode('utf-8', 'replace')}")


def debian():
    """The image's path; made once, also when several tests want it at the same time."""
    os.makedirs(FOLDER, exist_ok=True)
    if os.path.exists(IMAGE) and os.path.exists(KEY):
        return IMAGE
    with open(IMAGE + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(IMAGE) or not os.path.exists(KEY):
            make_image()
    return IMAGE


class Repository:
    """A package source on the host with one package in it."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="mullion-repository-")
        path = self.folder.name
        subprocess.run(["apt-get", "download", "-qq", PACKAGE], cwd=path, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        name, = os.listdir(path)
        control = tool("dpkg-deb", "--field", os.path.join(path, name))
        digest = tool("sha256sum", os.path.join(path, name)).split()[0]
        with open(os.path.join(path, "Packages"), "w", encoding="utf-8") as file:
            file.write(f"{control.rstrip()}\nFilename: ./{name}\nSize: {os.path.getsize(os.path.join(path, name))}\n"
                       f"SHA256: {digest}\n\n")
        handler = functools.partial(Quiet, directory=path)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.folder.cleanup()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def ssh(port, command, timeout=LONG):
    done = subprocess.run(["ssh", "-i", KEY, "-p", str(port), "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes",
                           "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=30",
                           f"{USER}@127.0.0.1", command],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        raise Failure(f"ssh {command}: exit status {done.returncode}\n{text}")
    return text


def log_in(vm):
    vm.wait_for("login: ", timeout=2 * LONG)
    vm.type(USER + "\n")
    vm.wait_for("Password: ")
    vm.type(PASSWORD + "\n")
    vm.wait_for(r"\$ ")


def check_units(port):
    state = ssh(port, "systemctl is-system-running --wait || systemctl --failed --no-legend").strip()
    if state != "running":
        raise Failure(f"the system is not well: {state}")


def install(port):
    repository = Repository()
    try:
        ssh(port, f"echo 'deb [trusted=yes] http://10.0.2.2:{repository.port} ./' | sudo tee /etc/apt/sources.list.d/test.list && "
                  "sudo apt-get -o Dir::Etc::sourcelist=/etc/apt/sources.list.d/test.list -o Dir::Etc::sourceparts=- "
                  f"update -qq && sudo apt-get install -qq -y {PACKAGE}")
        greeting = ssh(port, PACKAGE).strip()
    finally:
        repository.close()
    if greeting != "Hello, world!":
        raise Failure(f"the package's program says: {greeting}")


def whole_system(*options):
    """Boots, looks around, installs, powers off. Returns what lspci would list: vendor and class of each function."""
    port = free_port()
    options = [option.replace("PORT", str(port)) for option in options]
    with Terminal("run", "--snapshot", *options) as vm:
        log_in(vm)
        check_units(port)
        devices = ssh(port, "cd /sys/bus/pci/devices; for d in *; do echo $(cat $d/vendor $d/class); done")
        install(port)
        vm.type("sudo poweroff\n")
        status = vm.end()
        if status:
            raise Failure(f"exit status {status} after power-off\n{vm}")
    return devices


@case("debian: login, ssh, apt and power-off with virtio")
def debian_virtio():
    devices = whole_system(debian(), "--net", "user,forward=tcp:127.0.0.1:PORT:22")
    if devices.count("0x1af4 0x0") < 2:
        raise Failure(f"no virtio disk and network card:\n{devices}")


@case("debian: login, ssh, apt and power-off with AHCI and e1000")
def debian_emulated():
    devices = whole_system("--disk", f"{debian()},bus=ahci", "--memory", "1G", "--net",
                           "user,model=e1000,forward=tcp:127.0.0.1:PORT:22")
    if "0x1af4" in devices or "0x010601" not in devices or "0x020000" not in devices:
        raise Failure(f"not AHCI and e1000 alone:\n{devices}")
