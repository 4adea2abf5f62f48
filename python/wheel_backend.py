# SPDX-License-Identifier: Apache-2.0
"""Builds the wheel (PEP 517): CMake makes the library, this packs it beside the module.

It needs nothing but Python and what the C build needs (tools/setup), so that `pip install .`
works without a network. With `--config-settings=bundle=true` (pip wheel) the wheel also
carries the libraries that libexeunt links, but for those of the C library and the compiler,
each with its copyright file: for machines that lack them. `build-dir` names a CMake build
directory to use in place of build-python/.
"""
import base64
import hashlib
import os
import re
import shutil
import subprocess
import sysconfig
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build-python"
# What every Linux has in a version that is new enough.
SYSTEM = re.compile(r"^(linux-vdso|ld-linux.*|lib(c|m|dl|pthread|rt|gcc_s|stdc\+\+))\.so")


def _project():
    """The values of [project] that are needed here; tomllib is of Python 3.11."""
    text = (ROOT / "pyproject.toml").read_text()
    return {key: re.search(rf'^{key} = "(.*)"$', text, re.M).group(1)
            for key in ("name", "description", "requires-python")}


def _version():
    header = (ROOT / "include/exeunt.h").read_text()
    return ".".join(re.search(rf"EX_VERSION_{part} (\d+)", header).group(1)
                    for part in ("MAJOR", "MINOR", "PATCH"))


def _metadata():
    project = _project()
    return (f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {_version()}\n"
            f"Summary: {project['description']}\nLicense: Apache-2.0\n"
            f"Requires-Python: {project['requires-python']}\nRequires-Dist: numpy\n"
            "Description-Content-Type: text/markdown\n\n" + (ROOT / "README.md").read_text())


def _library(build):
    """Builds; the path of libexeunt.so.MAJOR.MINOR."""
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    if not (build / "CMakeCache.txt").exists():
        subprocess.run(["cmake", "-S", ROOT, "-B", build, *generator, "-DEX_TESTS=OFF",
                        # RPATH, not RUNPATH: it counts for what the bundled libraries link, too.
                        "-DCMAKE_BUILD_RPATH=$ORIGIN",
                        "-DCMAKE_SHARED_LINKER_FLAGS=-Wl,--disable-new-dtags"], check=True)
    subprocess.run(["cmake", "--build", build, "--target", "exeunt_shared", "-j",
                    str(os.cpu_count())], check=True)
    return build / f"libexeunt.so.{'.'.join(_version().split('.')[:2])}"


def _links(library):
    """Name and path of every library that `library` brings in, itself not counted."""
    for line in subprocess.run(["ldd", library], check=True, capture_output=True,
                               text=True).stdout.splitlines():
        found = re.match(r"\s*(\S+) => (/\S+)", line)
        if found and not SYSTEM.match(found.group(1)):
            yield found.group(1), Path(found.group(2))


def _copyright(library):
    """The copyright file of the Debian package that `library` is from."""
    for path in (library, library.resolve(), Path("/usr") / library.resolve().relative_to("/")):
        owner = subprocess.run(["dpkg-query", "-S", path], capture_output=True, text=True)
        if owner.returncode == 0:
            package = owner.stdout.split(":")[0]
            return package, Path(f"/usr/share/doc/{package}/copyright")
    raise RuntimeError(f"{library}: no package owns it, so its licence is not known")


def _bundle(library, info):
    """Archive names and paths of what `library` links, and of their licences."""
    for name, path in _links(library):
        package, licence = _copyright(path)
        yield f"exeunt/{name}", path
        yield f"{info}/licenses/{package}", licence


class _Wheel:
    """A zip whose members all have one time, and its RECORD."""

    def __init__(self, path, info):
        self.zip, self.info, self.record = zipfile.ZipFile(path, "w"), info, {}

    def add(self, name, data):
        if name in self.record:
            return
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        self.record[name] = f"{name},sha256={digest},{len(data)}"
        self._write(name, data)

    def _write(self, name, data):
        member = zipfile.ZipInfo(name)
        member.external_attr = (0o755 if ".so" in name else 0o644) << 16
        member.compress_type = zipfile.ZIP_DEFLATED
        self.zip.writestr(member, data)

    def close(self):
        record = f"{self.info}/RECORD"
        self._write(record, "\n".join([*self.record.values(), f"{record},,", ""]).encode())
        self.zip.close()


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    del metadata_directory  # made anew
    settings = config_settings or {}
    version, library = _version(), _library(Path(settings.get("build-dir", BUILD)))
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    info, tag = f"exeunt-{version}.dist-info", f"py3-none-{platform}"
    name = f"exeunt-{version}-{tag}.whl"
    part = Path(wheel_directory) / (name + ".part")
    wheel = _Wheel(part, info)
    for source in ("__init__.py", "py.typed"):
        wheel.add(f"exeunt/{source}", (ROOT / "python/exeunt" / source).read_bytes())
    wheel.add(f"exeunt/{library.name}", library.read_bytes())
    if settings.get("bundle", "false").lower() == "true":
        for member, path in _bundle(library, info):
            wheel.add(member, path.read_bytes())
    for licence in ("LICENSE", "NOTICE"):
        wheel.add(f"{info}/licenses/{licence}", (ROOT / licence).read_bytes())
    wheel.add(f"{info}/METADATA", _metadata().encode())
    wheel.add(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: exeunt {version}\n"
              f"Root-Is-Purelib: false\nTag: {tag}\n".encode())
    wheel.close()
    part.replace(part.with_name(name))
    return name


def build_sdist(sdist_directory, config_settings=None):
    """What git tracks."""
    del config_settings
    base = f"exeunt-{_version()}"
    tracked = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], check=True,
                             capture_output=True, text=True).stdout.split("\0")
    with tarfile.open(Path(sdist_directory) / f"{base}.tar.gz", "w:gz") as archive:
        for name in filter(None, tracked):
            archive.add(ROOT / name, f"{base}/{name}", recursive=False)
        (BUILD).mkdir(exist_ok=True)
        (BUILD / "PKG-INFO").write_text(_metadata())
        archive.add(BUILD / "PKG-INFO", f"{base}/PKG-INFO")
    return f"{base}.tar.gz"
