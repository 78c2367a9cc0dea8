# SPDX-License-Identifier: MIT
"""The microhypervisor in an emulated PC: every way to start it, and its primary VM."""
import os
import re
import shutil
import subprocess
import tempfile
import threading

from machine import IMAGES, LONG, MULLION, ROOT, Failure, case, clean, image

HV = os.path.join(ROOT, "build", "hv", "mullion.elf")
OVMF = "/usr/share/OVMF/OVMF_CODE_4M.fd"
OVMF_VARS = "/usr/share/OVMF/OVMF_VARS_4M.fd"
PC = ["qemu-system-x86_64", "-cpu", "EPYC", "-m", "1024", "-display", "none", "-serial", "stdio", "-monitor", "none",
      "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4"]
# docs/decisions.md, "QEMU's CPUs run side by side only where no device moves"
BARE = ["-M", "q35,sata=off,smbus=off", "-accel", "tcg,thread=multi", "-nodefaults"]
WHOLE = ["-M", "q35", "-accel", "tcg,thread=single"]
UEFI = ["-drive", f"if=pflash,format=raw,readonly=on,file={OVMF}",
        "-drive", f"if=pflash,format=raw,snapshot=on,file={OVMF_VARS}"]

_lock = threading.Lock()
_initrd = None


def initrd():
    """The primary VM's initramfs with the program in it, made once."""
    global _initrd
    with _lock:
        if not _initrd:
            _initrd = os.path.join(ROOT, "build", "hv", "initrd-test.img")
            subprocess.run([f"{ROOT}/guest/build-metal", IMAGES, MULLION, _initrd], check=True)
    return _initrd


def pc(*options, machine=BARE, timeout=2 * LONG):
    """Runs the emulated PC until it powers off; returns what its serial line said."""
    try:
        done = subprocess.run([*PC, *machine, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise Failure(f"no end after {timeout} s\n{clean(error.stdout)}") from None
    text = clean(done.stdout)
    if done.returncode or re.search("panic[: ]", text):
        raise Failure(f"exit status {done.returncode}\n{text}")
    return text


def args(run):
    """On a busy machine Linux finds that the emulated timer does not tick in time, and panics: it is not to look."""
    return f'console=ttyS0 quiet no_timer_check panic=-1 run="{run}; poweroff -f"'


def check(text, way, cpus):
    """What every start must have said."""
    for pattern in (rf"mullion: hypervisor, by {re.escape(way)}\n", r"mullion: keeps \d+ KiB of \d+ MiB",
                    rf"mullion: {cpus} CPU", rf"Mullion primary: kernel \S+, {cpus} CPUs", r"1\.hello", r"Power down"):
        if not re.search(pattern, text):
            raise Failure(f"no {pattern!r}\n{text}")
    kept = int(re.search(r"keeps (\d+) KiB", text).group(1))
    if kept > 16 << 10:
        raise Failure(f"keeps {kept} KiB")


HELLO = args("echo 1.hello")


def direct(cpus):
    """QEMU is the multiboot 1 loader."""
    text = pc("-smp", str(cpus), "-kernel", HV, "-initrd",
              f"{image('vmlinuz-cloud')} {HELLO},{initrd()}")
    check(text, "multiboot 1", cpus)


def make_iso(scratch, entry):
    iso = os.path.join(scratch, "iso")
    made = subprocess.run([f"{ROOT}/scripts/hv-iso", iso, image("vmlinuz-cloud"), initrd(), HELLO, entry],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if made.returncode:
        raise Failure(clean(made.stdout))
    return iso


def through_grub(entry, way, cpus, *options):
    with tempfile.TemporaryDirectory() as scratch:
        iso = make_iso(scratch, entry)
        check(pc("-smp", str(cpus), "-cdrom", iso, *options, machine=WHOLE), way, cpus)


def by_uefi(cpus):
    """A UEFI application first; then the boot manager, and from another disk GRUB and Linux, which know nothing of us."""
    with tempfile.TemporaryDirectory() as scratch:
        iso = make_iso(scratch, "linux")
        esp = os.path.join(scratch, "esp")
        os.makedirs(f"{esp}/EFI/BOOT")
        shutil.copy(HV.replace(".elf", ".efi"), f"{esp}/EFI/BOOT/BOOTX64.EFI")
        text = pc("-smp", str(cpus), *UEFI,
                  "-drive", f"id=esp,if=none,format=raw,file=fat:rw:{esp}",
                  "-device", "ide-hd,drive=esp,bootindex=0,bus=ide.0",
                  "-drive", f"id=cd,if=none,media=cdrom,file={iso}",
                  "-device", "ide-cd,drive=cd,bootindex=1,bus=ide.1", machine=WHOLE)
        check(text, "UEFI", cpus)


def add_starts():
    for cpus in (1, 4):
        case(f"metal: multiboot 1, {cpus} CPUs")(lambda cpus=cpus: direct(cpus))
        case(f"metal: multiboot 2 on a BIOS, {cpus} CPUs")(
            lambda cpus=cpus: through_grub("multiboot2", "multiboot 2 (BIOS)", cpus))
        case(f"metal: multiboot 2 on UEFI, {cpus} CPUs")(
            lambda cpus=cpus: through_grub("multiboot2", "multiboot 2 (UEFI)", cpus, *UEFI))
        case(f"metal: UEFI alone, {cpus} CPUs")(lambda cpus=cpus: by_uefi(cpus))
    case("metal: multiboot 1 through GRUB")(lambda: through_grub("multiboot1", "multiboot 1", 1))


add_starts()
