# SPDX-License-Identifier: MIT
"""Screen, keyboard and pointer: what a user of a VNC client sees and does."""
import os
import re
import socket
import struct
import tempfile
import time

import rfb
from machine import LONG, PROMPT, ROOT, Failure, Terminal, case, expect, image, kernel_options, mullion

SHELL = "guest:[~`]#"  # the kernel's own font has another tilde
FONT = rfb.Font(os.path.join(ROOT, "dev", "vga_font.c"))


class Screen(Terminal):
    """A VM whose serial port is a terminal, and whose screen is watched over VNC."""

    def __init__(self, *options):
        self.scratch = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.scratch.name, "vnc")
        super().__init__("run", "--vnc", f"unix:{self.path}", *options)
        end = time.monotonic() + 30
        while not os.path.exists(self.path):
            if not self.read(0.1) or time.monotonic() > end:
                raise Failure(f"nobody listens at {self.path}\n{self}")
        self.vnc = rfb.Rfb(self.path, encodings=(rfb.QEMU_KEYS, rfb.DESKTOP_SIZE, rfb.RAW))

    def __exit__(self, *_):
        self.vnc.socket.close()
        super().__exit__()
        self.scratch.cleanup()

    def shows(self, pattern, timeout=LONG):
        """Waits until the screen shows it."""
        end = time.monotonic() + timeout
        while True:
            self.vnc.update()
            text = FONT.text(self.vnc)
            match = re.search(pattern, text)
            if match:
                return match
            if time.monotonic() > end or not self.read(0.2):
                raise Failure(f"waited {timeout} s for {pattern!r} on the screen\n--- screen\n{text}\n{self}")


def text_options(kernel, initrd):
    return ["--no-reboot", *kernel_options(kernel, initrd, "console=tty0")]


@case("screen: text and keys")
def text():
    with Screen(*text_options("cloud", "initrd.img")) as vm:
        vm.shows(SHELL)
        if (vm.vnc.width, vm.vnc.height) != (720, 400):
            raise Failure(f"the text screen has {vm.vnc.width}x{vm.vnc.height} pixels")
        vm.vnc.type("echo $((6*7)) 'A~{|}\"<>?' | tr 1-9 a-i >/dev/ttyS0\n")
        vm.wait_for(r'db A~\{\|\}"<>\?\n', 30)
        # A client without Shift keys, one that sends scan codes, and a held key.
        for char in "echo X":
            vm.vnc.press(ord(char))
        if not vm.vnc.qemu_keys:
            raise Failure("scan codes are not offered")
        # (Linux takes a repetition in the first moment for a bounce.)
        for code in (0x15, 0x16, 0x16, 0x2D, 0xCB, 0x0E, 0xCF):  # y, u repeated, x, left, backspace, end
            vm.vnc.scancode(code, True)
            if code == 0x16:
                time.sleep(0.6)
            else:
                vm.vnc.scancode(code, False)
        vm.vnc.scancode(0x16, False)
        vm.vnc.type(" >/dev/ttyS0\n")
        vm.wait_for(r"Xyux\n", 30)
        vm.vnc.type("clear; echo seen | tr a-z A-Z\n")
        vm.shows(rf"(?m)^SEEN\n{SHELL}")
        vm.vnc.type("exit\n")
        if vm.end(30) != 0:
            raise Failure(f"exit status\n{vm}")
        if os.path.exists(vm.path):
            raise Failure("the socket is still there")


@case("screen: reset")
def reset():
    """The client stays while the guest starts over, and goes on pressing keys meanwhile."""
    with Screen(*kernel_options(append="console=tty0")) as vm:
        vm.shows(SHELL)
        vm.vnc.type("echo before; sleep 1; reboot\n")
        vm.shows("(?m)^before")
        end = time.monotonic() + LONG
        while "before" in FONT.text(vm.vnc) or not re.search(SHELL, FONT.text(vm.vnc)):
            vm.vnc.press(rfb.SHIFT)
            vm.vnc.point(int(time.monotonic() * 100) % 700, 100)
            vm.vnc.update()
            if time.monotonic() > end or vm.process.poll() is not None:
                raise Failure(f"no second boot\n{FONT.text(vm.vnc)}\n{vm}")
        vm.vnc.type("echo $((6*7)) | tr 1-9 a-i >/dev/ttyS0; exit\n")
        vm.wait_for("db\n", 30)
        if vm.end(30) != 0:
            raise Failure(f"exit status\n{vm}")


def packets(vm, command, act):
    """Has the guest print bytes that it gets from a device while something is done."""
    vm.vnc.type(f"( sleep 1; {command} ) >/dev/ttyS0\n")
    time.sleep(2.5)
    act()
    return vm.wait_for(r"((?:[0-9a-f]{2} ?)+)\n", 30).group(1)


def shake(vnc):
    vnc.point(100, 100)
    time.sleep(0.3)
    vnc.point(110, 105)
    time.sleep(0.3)
    vnc.point(110, 105, 1)
    time.sleep(0.3)
    vnc.point(110, 105)


@case("screen: linear frame buffer and mouse")
def linear():
    with Screen(*text_options("generic", "initrd-generic.img")) as vm:
        vm.shows(SHELL)
        end = time.monotonic() + 60
        while (vm.vnc.width, vm.vnc.height) != (1024, 768):
            vm.vnc.update()
            if time.monotonic() > end:
                raise Failure(f"no mode of bochs-drm: {vm.vnc.width}x{vm.vnc.height}\n{vm}")
        vm.vnc.type("cat /proc/fb >/dev/ttyS0; grep -c Explorer /proc/bus/input/devices >/dev/ttyS0\n")
        vm.wait_for(r"0 bochs-drm.*\n1\n", 30)
        vm.vnc.type("clear; echo 123 | tr 1-3 a-c\n")
        vm.shows(rf"(?m)^abc\n{SHELL}")
        vm.vnc.point(100, 100)
        got = packets(vm, "hexdump -v -n 9 -e '9/1 \"%02x \" \"\\n\"' /dev/input/mice", lambda: shake(vm.vnc))
        if got.strip() != "28 0a fb 09 00 00 08 00 00":
            raise Failure(f"the mouse says {got}\n{vm}")
        # Straight to the frame buffer: a red line, and only its tiles are sent.
        vm.vnc.update()
        before = vm.vnc.rectangles
        vm.vnc.type("dd if=/dev/zero bs=4096 count=300 2>/dev/null | tr '\\0' '\\125' >/dev/fb0\n")
        end = time.monotonic() + 30
        while vm.vnc.pixel(900, 200) != (0x55, 0x55, 0x55):
            vm.vnc.update(incremental=True)
            if time.monotonic() > end:
                raise Failure(f"the frame buffer is not shown: {vm.vnc.pixel(900, 200)}")
        if vm.vnc.rectangles == before:
            raise Failure("no rectangle came")
        vm.vnc.type("exit\n")
        if vm.end(30) != 0:
            raise Failure(f"exit status\n{vm}")


def events(vm, device, count, act):
    """Types, codes and values of a device's next events; each is 24 bytes, first of all a time."""
    data = bytes.fromhex(packets(vm, f"hexdump -v -n {24 * count} -e '24/1 \"%02x\" \" \"' /dev/input/{device}; echo", act))
    return [struct.unpack("<16xHHi", data[at:at + 24]) for at in range(0, len(data), 24)]


@case("screen: virtio keyboard and tablet")
def virtio():
    with Screen("--virtio-input", *text_options("cloud", "initrd-virtio.img")) as vm:
        vm.shows(SHELL)
        vm.vnc.type("grep -A4 Mullion /proc/bus/input/devices | grep -E 'Name|Handlers' >/dev/ttyS0\n")
        keyboard = vm.wait_for(r'Name="Mullion keyboard"\n.*(event\d+)', 30).group(1)
        tablet = vm.wait_for(r'Name="Mullion tablet"\n.*(event\d+)', 30).group(1)
        vm.vnc.point(0, 0)
        got = events(vm, tablet, 8, lambda: shake(vm.vnc))
        x, y = 100 * 0x7FFF // 719, 100 * 0x7FFF // 399
        if got[:3] != [(3, 0, x), (3, 1, y), (0, 0, 0)] or got[6:] != [(1, 0x110, 1), (0, 0, 0)]:
            raise Failure(f"the tablet says {got}; {x}, {y} was expected\n{vm}")
        got = events(vm, keyboard, 4, lambda: vm.vnc.type(" "))
        if got != [(1, 57, 1), (0, 0, 0), (1, 57, 0), (0, 0, 0)]:
            raise Failure(f"the keyboard says {got}\n{vm}")
        vm.vnc.type("exit\n")
        if vm.end(30) != 0:
            raise Failure(f"exit status\n{vm}")


@case("screen: password")
def password():
    with tempfile.TemporaryDirectory() as scratch:
        path, file = os.path.join(scratch, "vnc"), os.path.join(scratch, "password")

        def write(text):
            with open(file, "w", encoding="ascii") as out:
                out.write(text)

        for text, options in (("", ["--vnc", f"unix:{path}"]), ("123456789\n", ["--vnc", f"unix:{path}"]), ("good", []),
                              (None, ["--vnc", f"unix:{path}"])):
            if text is None:
                os.unlink(file)
            else:
                write(text)
            result = mullion("run", *options, "--vnc-password-file", file, "--kernel", image("vmlinuz-cloud"))
            if result.status != 2 or len(result.err.strip().split("\n")) != 1 or "password" not in result.err:
                raise Failure(f"{text!r} {options}\n{result}")
        write("s3cret!x\nmore\n")
        with Terminal("run", "--vnc", f"unix:{path}", "--vnc-password-file", file) as vm:
            vm.wait_for(re.escape(PROMPT))
            for word in (None, "s3cret!y", ""):
                try:
                    rfb.Rfb(path, password=word)
                except (ValueError, EOFError):
                    continue
                raise Failure(f"{word!r} was let in")
            with rfb.Rfb(path, password="s3cret!x") as vnc:
                vnc.update()
            vm.type("exit\n")
            expect(vm.end() == 0, "the end", vm)


@case("screen: addresses")
def addresses():
    """One clear line for each that cannot be."""
    with tempfile.TemporaryDirectory() as scratch, socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        plain = os.path.join(scratch, "file")
        with open(plain, "w", encoding="ascii") as file:
            file.write("precious")
        bad = {
            f"127.0.0.1:{port}": "in use", "nowhere": "use 127", "127.0.0.1:": "use 127", ":70000": "use 127",
            "example.org:5900": "use 127", "0.0.0.0:5900": "ssh -L", f"unix:{plain}": "in use",
            f"unix:{scratch}/no/such": "No such file", "unix:": "path", f"unix:/{'x' * 200}": "path",
        }
        for address, word in bad.items():
            result = mullion("run", "--vnc", address, "--kernel", image("vmlinuz-cloud"))
            lines = result.err.strip().split("\n")
            if result.status != 2 or len(lines) != 1 or word not in lines[0]:
                raise Failure(f"--vnc {address}\n{result}")
        with open(plain, encoding="ascii") as file:
            if file.read() != "precious":
                raise Failure("the file is damaged")
