# SPDX-License-Identifier: MIT
"""A small VNC client: pictures, keys and the pointer, for tests and for screenshots."""
import re
import socket
import struct
import subprocess
import time
import zlib

RAW, DESKTOP_SIZE, QEMU_KEYS = 0, -223, -258

NAMED = {"\n": 0xFF0D, "\t": 0xFF09, "\b": 0xFF08, "\x1b": 0xFF1B}
SHIFT, CONTROL, ALT = 0xFFE1, 0xFFE3, 0xFFE9
SHIFTED = '~!@#$%^&*()_+{}|:"<>?ABCDEFGHIJKLMNOPQRSTUVWXYZ'


class Rfb:
    """address: (host, port) or the path of a UNIX socket."""

    def __init__(self, address, timeout=30, encodings=(DESKTOP_SIZE, RAW), password=None):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(address)
        self.qemu_keys = False
        self.rectangles = 0
        self.handshake(password)
        self.send(struct.pack(">BxH", 2, len(encodings)) + b"".join(struct.pack(">i", e) for e in encodings))
        # 32 bits, depth 24, true colour, little-endian, as the server has it.
        self.send(struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0))
        self.resize(self.width, self.height)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def get(self, length):
        data = bytearray()
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            if not part:
                raise EOFError("the server has closed the connection")
            data += part
        return bytes(data)

    def unpack(self, form):
        return struct.unpack(form, self.get(struct.calcsize(form)))

    def answer(self, password):
        """The server's challenge, encrypted by DES with the password, whose bytes are turned round for it."""
        key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password.encode().ljust(8, b"\0")[:8])
        return subprocess.run(["openssl", "enc", "-des-ecb", "-provider", "legacy", "-provider", "default", "-nopad", "-K", key.hex()],
                              input=self.get(16), stdout=subprocess.PIPE, check=True).stdout

    def handshake(self, password):
        version = self.get(12)
        if not version.startswith(b"RFB 003."):
            raise ValueError(f"not a VNC server: {version}")
        self.send(b"RFB 003.008\n")
        types = self.get(self.unpack(">B")[0])
        kind = b"\x02" if password is not None else b"\x01"
        if kind not in types:
            raise ValueError(f"no such way in: {types}")
        self.send(kind)
        if password is not None:
            self.send(self.answer(password))
        if self.unpack(">I")[0]:
            raise ValueError("refused")
        self.send(b"\x01")
        self.width, self.height = self.unpack(">HH")
        self.get(16)
        self.name = self.get(self.unpack(">I")[0]).decode()

    def resize(self, width, height):
        self.width, self.height = width, height
        self.pixels = bytearray(width * height * 4)

    # ---- pictures ----

    def request(self, incremental=True):
        self.send(struct.pack(">BBHHHH", 3, incremental, 0, 0, self.width, self.height))

    def rectangle(self):
        """True if it was a picture's part, or its size."""
        x, y, w, h, encoding = self.unpack(">HHHHi")
        if encoding == DESKTOP_SIZE:
            self.resize(w, h)
        elif encoding == QEMU_KEYS:
            self.qemu_keys = True
        elif encoding == RAW:
            self.rectangles += 1
            for row in range(h):
                start = ((y + row) * self.width + x) * 4
                self.pixels[start:start + w * 4] = self.get(w * 4)
        else:
            raise ValueError(f"encoding {encoding} was not asked for")
        return encoding != QEMU_KEYS

    def receive(self):
        """One message of the server; True if it was a picture's part."""
        kind = self.unpack(">B")[0]
        if kind == 0:
            return any([self.rectangle() for _ in range(self.unpack(">xH")[0])])
        if kind == 3:
            self.get(self.unpack(">xxxI")[0])
        elif kind != 2:
            raise ValueError(f"message {kind} was not asked for")
        return False

    def update(self, incremental=False):
        """Asks for a picture and waits for it."""
        while True:
            before = (self.width, self.height)
            self.request(incremental)
            while not self.receive():
                pass
            if before == (self.width, self.height):
                return
            incremental = False  # another size: the pixels come next

    def pixel(self, x, y):
        b, g, r, _ = self.pixels[(y * self.width + x) * 4:][:4]
        return r, g, b

    def png(self):
        lines = bytearray()
        for y in range(self.height):
            row = self.pixels[y * self.width * 4:(y + 1) * self.width * 4]
            line = bytearray(self.width * 3)
            line[0::3], line[1::3], line[2::3] = row[2::4], row[1::4], row[0::4]
            lines += b"\0" + line

        def chunk(kind, data):
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        head = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(lines), 9)) +
                chunk(b"IEND", b""))

    # ---- keys and the pointer ----

    def key(self, keysym, down):
        self.send(struct.pack(">BBxxI", 4, down, keysym))

    def press(self, *keysyms):
        for keysym in keysyms:
            self.key(keysym, True)
        for keysym in reversed(keysyms):
            self.key(keysym, False)

    def type(self, text, pause=0.02):
        for char in text:
            keysym = NAMED.get(char, ord(char))
            self.press(*([SHIFT] if char in SHIFTED else []), keysym)
            time.sleep(pause)

    def scancode(self, code, down):
        self.send(struct.pack(">BBHII", 255, 0, down, 0, code))

    def point(self, x, y, buttons=0):
        self.send(struct.pack(">BBHH", 5, buttons, x, y))


class Font:
    """Reads text off a screen: 8x16 glyphs, in cells of 8 or 9 pixels; similar fonts will do."""
    FAR = 24  # bits of the 128 that may differ

    def __init__(self, source):
        """source: the C file with the glyphs."""
        with open(source, encoding="utf-8") as file:
            data = bytes(int(byte, 16) for byte in re.findall(r"0x([0-9a-f]{2}),", file.read()))
        self.known = [(int.from_bytes(data[code * 16:code * 16 + 16], "big"), chr(code)) for code in range(32, 127)]
        self.seen = {bits: char for bits, char in self.known}

    def glyph(self, bits):
        if bits not in self.seen:
            distance, char = min(((bits ^ other).bit_count(), char) for other, char in self.known)
            self.seen[bits] = char if distance <= self.FAR else "\ufffd"
        return self.seen[bits]

    def cell(self, screen, left, top):
        """A cell's character; its paper is the colour that it has most of."""
        start = (top * screen.width + left) * 4
        line = screen.width * 4
        pixels = [bytes(screen.pixels[at:at + 3]) for row in range(16)
                  for at in range(start + row * line, start + row * line + 32, 4)]
        paper = max(set(pixels), key=pixels.count)
        bits = 0
        for pixel in pixels:
            bits = bits << 1 | (pixel != paper)
        return self.glyph(bits)

    def text(self, screen):
        width = 9 if screen.width % 9 == 0 and screen.width % 640 else 8
        return "\n".join("".join(self.cell(screen, x, y) for x in range(0, screen.width // width * width, width)).rstrip()
                         for y in range(0, screen.height // 16 * 16, 16))
