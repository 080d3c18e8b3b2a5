"""Compiles a ROS 2 message package for ROS 2 from PyPI, which has no colcon and no CMake files.

    python interfaces/build.py vision_msgs [--prefix PREFIX] [--source DIRECTORY]

Turns DIRECTORY/msg/*.msg into the Python package and the C libraries that rclpy
loads, with the code generators of the ``ros-rosidl-*`` wheels and gcc, and
installs them below PREFIX. Does nothing when they are there and up to date. On a
machine with a ROS distribution the package comes from the distribution instead.

What is built, in this order, is what CMake's ``rosidl_generate_interfaces``
builds for the C and Python languages and Fast DDS:

1. .msg -> .idl, and a .json with the type hash for each;
2. ``rosidl_generator_c``: the messages as C structures;
3. ``rosidl_typesupport_fastrtps_c``: their serialisation;
4. ``rosidl_typesupport_introspection_c``: their description, which rcl looks for;
5. ``rosidl_typesupport_c``: which of these to load;
6. ``rosidl_generator_py``: conversion between the C structures and Python's;
7. one Python extension module for each type support that rclpy loads.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
BASE = Path(sys.prefix)
"""Where pip put the ROS 2 wheels: their lib/, include/ and share/."""

DISPATCH = "rosidl_typesupport_c"
SERIALISATION = "rosidl_typesupport_fastrtps_c"
STRUCTURES = "rosidl_generator_c"
DESCRIPTION = "rosidl_typesupport_introspection_c"
PYTHON = "rosidl_generator_py"


class BuildError(Exception):
    """The package could not be built; the message says why and what to do."""


@dataclass(frozen=True)
class Generated:
    """Generated sources of one package, below one temporary directory.

    Attributes:
        idl: the .idl files.
        descriptions: the .json files with the type hashes.
        python: the Python package, with its C sources still in it.
        sources: C and C++ sources of each library, by the library's name.
        includes: directories to be searched for headers.
    """

    idl: list[Path]
    descriptions: list[Path]
    python: Path
    sources: dict[str, list[Path]]
    includes: list[Path]


def build(package: str, source: Path, prefix: Path) -> bool:
    """Generate, compile and install one message package.

    Args:
        package: its name.
        source: directory that holds ``msg/*.msg``.
        prefix: where to install; ``sys.prefix`` makes it importable at once.

    Returns:
        False if it was up to date and nothing was done.

    Raises:
        BuildError: no messages, a missing tool, a message that can't be
            translated, or a compiler error.
    """
    messages = sorted((source / "msg").glob("*.msg"))
    if not messages:
        raise BuildError(f"no messages in {source / 'msg'}: name a directory that holds msg/*.msg")
    check_wheels()
    stamp = prefix / "share" / package / "build_stamp"
    wanted = fingerprint(package, messages)
    if stamp.is_file() and stamp.read_text() == wanted:
        return False
    check_compilers()
    stamp.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{package}_") as scratch:
        generated = generate(package, source, messages, Path(scratch))
        compile_libraries(package, generated, Path(scratch), prefix / "lib")
        install(package, generated, messages, prefix)
    stamp.write_text(wanted)
    return True


def check_wheels() -> None:
    """Raise BuildError for the first Python package that a build needs and this environment lacks."""
    if not (BASE / "share/ament_index/resource_index/packages/rclpy").is_file():
        raise BuildError(
            f"ROS 2 from PyPI is not installed in {sys.prefix}: run 'make setup'. "
            "On a ROS distribution install its own package instead (apt-get install ros-$ROS_DISTRO-NAME)"
        )
    wheels = {
        "rosidl_generator_py": "ros-rosidl-generator-py",
        "rosidl_typesupport_fastrtps_c": "ros-rosidl-typesupport-fastrtps-c",
        "catkin_pkg": "catkin-pkg",  # without it rosidl says "No translate extensions found"
        "numpy": "numpy",
    }
    for module, wheel in wheels.items():
        if importlib.util.find_spec(module) is None:
            raise BuildError(
                f"Python module {module} is missing from {sys.prefix}: "
                f"pip install '{wheel}' with the constraints that 'make setup' uses"
            )


def check_compilers() -> None:
    """Raise BuildError if there is no C or C++ compiler, or no header of this Python."""
    for compiler in ("gcc", "g++"):
        if shutil.which(compiler) is None:
            raise BuildError(f"{compiler} is missing: install it (Debian, Ubuntu: apt-get install gcc g++)")
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        raise BuildError(
            f"Python.h is missing from {sysconfig.get_path('include')}: install the headers of this Python "
            f"(Debian, Ubuntu: apt-get install python3.{sys.version_info.minor}-dev)"
        )


def fingerprint(package: str, messages: list[Path]) -> str:
    """Changes when the messages, this builder, Python, NumPy or the ROS wheels change."""
    digest = hashlib.sha256(f"{package} {sys.version} {BASE}\n".encode())
    for wheel in ("ros-rosidl-generator-py", "ros-rosidl-typesupport-fastrtps-c", "numpy"):
        digest.update(f"{wheel} {importlib.metadata.version(wheel)}\n".encode())
    for file in [Path(__file__), *messages]:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest() + "\n"


def generate(package: str, source: Path, messages: list[Path], scratch: Path) -> Generated:
    """Run the wheels' generators: .msg -> .idl -> C, C++ and Python."""
    # The generators find their templates through the ament index.
    os.environ["AMENT_PREFIX_PATH"] = str(BASE)
    from rosidl_cli.command.hash.api import generate_type_hashes
    from rosidl_cli.command.translate.api import translate
    from rosidl_generator_c.cli import GenerateC
    from rosidl_generator_py.cli import GeneratePython
    from rosidl_typesupport_c.cli import GenerateCTypesupport
    from rosidl_typesupport_fastrtps_c.cli import GenerateFastRTPSCTypesupport
    from rosidl_typesupport_introspection_c.cli import GenerateIntrospectionCTypesupport

    known = [str(BASE / "share" / name) for name in other_packages(package)]
    idl_root = scratch / "idl" / package
    structures = scratch / "include" / package  # so that <package/msg/...> is found
    dispatch = scratch / "dispatch"
    description = scratch / "introspection" / package
    python = scratch / "python" / package
    chatter = io.StringIO()
    try:
        with redirect_stdout(chatter), redirect_stderr(chatter):
            translate(
                package_name=package,
                interface_files=[f"{source.resolve()}:msg/{m.name}" for m in messages],
                include_paths=known,
                output_format="idl",
                output_path=idl_root,
            )
            idl = sorted(idl_root.rglob("*.idl"))
            files = [f"{idl_root}:{i.relative_to(idl_root)}" for i in idl]
            descriptions = generate_type_hashes(
                package_name=package, interface_files=files, include_paths=known, output_path=structures
            )
            GenerateC(STRUCTURES).generate(package, files, known, structures, descriptions)
            GenerateFastRTPSCTypesupport(SERIALISATION).generate(package, files, known, structures)
            GenerateIntrospectionCTypesupport(DESCRIPTION).generate(package, files, known, description)
            GenerateCTypesupport(DISPATCH, typesupport_implementations=[SERIALISATION, DESCRIPTION]).generate(
                package, files, known, dispatch
            )
            GeneratePython(PYTHON, typesupport_implementations=[DISPATCH, SERIALISATION]).generate(
                package, files, known, python
            )
    except Exception as error:  # the generators raise whatever their parser raises
        said = chatter.getvalue().strip().rpartition("\n")[2]
        raise BuildError(f"{package}: its messages can't be translated: {error}\n{said}") from error
    (python / "__init__.py").touch()
    return Generated(
        idl=idl,
        descriptions=[Path(d) for d in descriptions],
        python=python,
        sources={
            STRUCTURES: sorted(structures.rglob("*.c")),
            SERIALISATION: sorted(structures.rglob("*.cpp")),
            DESCRIPTION: sorted(description.rglob("*.c")),
            DISPATCH: sorted(dispatch.rglob("*.cpp")),
            PYTHON: sorted(python.rglob("*_s.c")),
        },
        includes=[scratch / "include", scratch / "introspection"],
    )


def other_packages(package: str) -> list[str]:
    """Message packages that are installed already and may be referred to."""
    index = BASE / "share/ament_index/resource_index/rosidl_interfaces"
    return sorted(entry.name for entry in index.iterdir() if entry.name != package)


def compile_libraries(package: str, generated: Generated, scratch: Path, lib: Path) -> None:
    """Compile all sources, link the libraries into ``lib`` and the extension modules in place."""
    flags = compiler_flags(package, generated)
    objects = {name: [] for name in generated.sources}
    commands = []
    for name, sources in generated.sources.items():
        for source in sources:
            target = scratch / "objects" / name / f"{source.name}.o"
            target.parent.mkdir(parents=True, exist_ok=True)
            compiler = ["g++", "-std=c++17"] if source.suffix == ".cpp" else ["gcc", "-std=c11"]
            commands.append([*compiler, *flags, "-c", str(source), "-o", str(target)])
            objects[name].append(str(target))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(run, commands))

    lib.mkdir(parents=True, exist_ok=True)
    search = [f"-L{lib}", f"-L{BASE / 'lib'}", "-Wl,--as-needed", f"-Wl,-rpath-link,{BASE / 'lib'}"]
    for name, wanted in libraries(package).items():
        file = f"lib{package}__{name}.so"
        linking = ["g++", "-shared", f"-Wl,-soname,{file}", "-Wl,-rpath,$ORIGIN", *objects[name], *search]
        run([*linking, *wanted, "-o", str(lib / file)])
    for name in (DISPATCH, SERIALISATION):
        entry = generated.python / f"_{package}_s.ep.{name}.c"
        wanted = [f"-l{package}__{kind}" for kind in (PYTHON, name, DISPATCH, STRUCTURES)]
        wanted += ["-lrosidl_typesupport_c", "-lrosidl_runtime_c", "-lrcutils", "-lrmw"]
        module = generated.python / f"{package}_s__{name}.so"
        linking = ["gcc", "-shared", "-std=c11", *flags, "-Wl,-rpath,$ORIGIN/../../..", str(entry), *search]
        run([*linking, *wanted, "-o", str(module)])


def compiler_flags(package: str, generated: Generated) -> list[str]:
    """Options of every compiler call."""
    import numpy

    ros = [BASE / "include", *sorted(p for p in (BASE / "include").iterdir() if p.is_dir())]
    includes = [*generated.includes, *ros, Path(numpy.get_include()), Path(sysconfig.get_path("include"))]
    name = f'-DROS_PACKAGE_NAME="{package}"'
    return ["-O2", "-fPIC", "-DNDEBUG", "-w", name, *(f"-I{i}" for i in includes)]


def libraries(package: str) -> dict[str, list[str]]:
    """The package's libraries in link order, each with the ``-l`` options it needs."""

    def own(*kinds: str) -> list[str]:
        return [f"-l{package}__{kind}" for kind in kinds]

    def others(*kinds: str) -> list[str]:
        names = [f"{name}__{kind}" for kind in kinds for name in other_packages(package)]
        return [f"-l{name}" for name in names if (BASE / "lib" / f"lib{name}.so").exists()]

    runtime = ["-lrosidl_runtime_c", "-lrcutils"]
    fastrtps = ["-lrosidl_typesupport_fastrtps_c", "-lrosidl_typesupport_fastrtps_cpp"]
    return {
        STRUCTURES: [*others(STRUCTURES), *runtime],
        SERIALISATION: [
            *own(STRUCTURES),
            *others(SERIALISATION, STRUCTURES),
            *fastrtps,
            "-l:libfastcdr.so.2",
            "-lrmw",
            *runtime,
        ],
        DESCRIPTION: [
            *own(STRUCTURES),
            *others(DESCRIPTION, STRUCTURES),
            "-lrosidl_typesupport_introspection_c",
            *runtime,
        ],
        DISPATCH: [
            *own(SERIALISATION, STRUCTURES),
            *others(DISPATCH),
            "-lrosidl_typesupport_c",
            "-lrosidl_typesupport_fastrtps_c",
            *runtime,
        ],
        PYTHON: [*own(STRUCTURES, DISPATCH), *others(PYTHON, STRUCTURES), *runtime],
    }


def run(command: list[str]) -> None:
    """Run a compiler; raise BuildError with what it printed if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        at = command.index("-o")
        raise BuildError(
            f"{command[0]} failed with code {done.returncode} on {Path(command[at + 1]).name}:\n{done.stderr}"
        )


def install(package: str, generated: Generated, messages: list[Path], prefix: Path) -> None:
    """Put the Python package, the definitions and the ament index entries in place."""
    python = prefix / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    if prefix == BASE:
        python = Path(sysconfig.get_path("purelib"))
    shutil.rmtree(python / package, ignore_errors=True)
    shutil.copytree(generated.python, python / package, ignore=shutil.ignore_patterns("*.c"))

    definitions = prefix / "share" / package / "msg"
    shutil.rmtree(definitions, ignore_errors=True)
    definitions.mkdir(parents=True)
    for file in [*messages, *generated.idl, *generated.descriptions]:
        shutil.copy(file, definitions)

    index = prefix / "share/ament_index/resource_index"
    entries = {"packages": "", "rosidl_interfaces": "".join(f"msg/{m.name}\n" for m in messages)}
    for kind, content in entries.items():
        (index / kind).mkdir(parents=True, exist_ok=True)
        (index / kind / package).write_text(content)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", help="name of the message package")
    parser.add_argument("--source", type=Path, help="directory with msg/*.msg (default: beside this file)")
    parser.add_argument("--prefix", type=Path, default=BASE, help="where to install (default: %(default)s)")
    given = parser.parse_args(arguments)
    try:
        built = build(given.package, given.source or HERE / given.package, given.prefix.resolve())
    except BuildError as error:
        print(f"interfaces/build.py: {error}", file=sys.stderr)
        return 1
    print(f"{given.package}: {'built into' if built else 'up to date in'} {given.prefix}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
