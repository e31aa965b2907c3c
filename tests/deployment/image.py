"""Check the Dockerfile as far as it goes without a container engine.

A linter reads it; then its own steps run in an empty folder that stands for the image's root, and the
program is started from what would be left in the image. What a machine cannot do is named and skipped.
Run from the project's folder: python -m tests.deployment.image
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "Dockerfile"
BASE = "base"
"""The folder of the environment that stands for the base image: `python` and `pip` come from there."""
NOT_TRIED = (
    *("docker build, and the base image itself",),
    *("running as the number in USER, on a root that is read-only",),
)
NO_INDEX = "connection broken by"
"""What pip says where the package index cannot be reached."""


class Wrong(Exception):
    """The image would not be what it should be."""


class Unreachable(Exception):
    """There is no package index at hand."""


@dataclass
class Stage:
    """A stage of the Dockerfile, as it is built: what its instructions set, and where they run."""

    root: Path
    environment: dict[str, str]
    folder: Path = field(init=False)
    user: str = "0"
    entrypoint: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = self.root

    def inside(self, text: str) -> str:
        """The same words, with every absolute path moved below our root."""
        return re.sub(r"(?<![^\s=:\"'])/(?=\w)", f"{self.root}/", text)

    def do(self, instruction: str, words: str) -> None:
        match instruction:
            case "ARG" | "ENV":
                for pair in shlex.split(words):
                    name, given, value = pair.partition("=")
                    if given:
                        self.environment[name] = self._expanded(self.inside(value))
            case "WORKDIR":
                self.folder = Path(self.inside(words))
                self.folder.mkdir(parents=True, exist_ok=True)
            case "COPY":
                self._copy(*shlex.split(words))
            case "RUN":
                self._run(self.inside(words))
            case "USER":
                self.user = words
            case "ENTRYPOINT" | "CMD":
                if not words.startswith("["):
                    raise Wrong(f"{instruction} needs a shell: {words}")
                if instruction == "ENTRYPOINT":
                    self.entrypoint = json.loads(words)
            case "LABEL" | "EXPOSE":
                pass
            case _:
                raise Wrong(f"{instruction} is not known to {Path(__file__).name}")

    def _expanded(self, text: str) -> str:
        return re.sub(r"\$\{?(\w+)\}?", lambda found: self.environment.get(found[1], ""), text)

    def _copy(self, source: str, *rest: str) -> None:
        if source.startswith("--from="):
            moved, target = rest
            if moved != target or not Path(self.inside(target)).exists():
                raise Wrong(f"COPY {source} {moved} {target}: scripts name the place they were made for")
            return
        (target,) = rest
        to = self.folder / target
        for path in sent():
            if PurePosixPath(source) in (path, *path.parents):
                (to / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / path, to / path, follow_symlinks=False)

    def _run(self, command: str) -> None:
        began = time.monotonic()
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            if NO_INDEX in done.stdout + done.stderr:
                raise Unreachable
            raise Wrong(f"RUN {command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        said = command.replace(f"{self.root}/", "/")
        print(f"ok RUN {said.split(' && ')[0][:70]} ({time.monotonic() - began:.0f} s)")


def main() -> int:
    """Lint, build, start; return the exit status."""
    linter = Path(sys.executable).with_name("hadolint")
    linted = subprocess.run([linter, DOCKERFILE], check=False).returncode
    if linted == 0:
        print("ok Dockerfile: hadolint has nothing to say")
    try:
        with tempfile.TemporaryDirectory() as folder:
            wrong = [*_image_problems(_built(Path(folder).resolve()))]
    except Unreachable:
        print("skipped the steps of the Dockerfile: the package index cannot be reached")
        wrong = []
    except Wrong as error:
        wrong = [str(error)]
    for problem in wrong:
        print(f"Dockerfile: {problem}", file=sys.stderr)
    for what in NOT_TRIED:
        print(f"skipped {what}: no container engine")
    return 1 if linted or wrong else 0


def instructions() -> Iterator[tuple[str, str]]:
    """Yield each instruction with its words, on one line, without comments."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            instruction, _, words = line.strip().partition(" ")
            yield instruction, " ".join(words.split())


def sent() -> Iterator[PurePosixPath]:
    """Yield the files and links that .dockerignore leaves in: the last line that fits decides."""
    lines = [one for one in (ROOT / ".dockerignore").read_text().splitlines() if one and one[0] != "#"]
    for folder, below, files in os.walk(ROOT):
        here = PurePosixPath(Path(folder).relative_to(ROOT))
        below[:] = [name for name in below if not _ignored(here / name, lines)]
        links = [name for name in below if (ROOT / here / name).is_symlink()]
        yield from (here / name for name in sorted(files + links) if not _ignored(here / name, lines))


def _ignored(path: PurePosixPath, lines: list[str]) -> bool:
    ignored = False
    for line in lines:
        pattern = line.lstrip("!").removeprefix("**/")
        candidates = [path, *path.parents] if line.lstrip("!") == pattern else []
        fits = any(len(one.parts) == 1 and one.match(pattern) for one in candidates)
        if fits or (not candidates and any(one.match(pattern) for one in (path, *path.parents))):
            ignored = not line.startswith("!")
    return ignored


def _built(root: Path) -> Stage:
    """Run every stage. All share one root; what the last one does not copy is gone when it ends."""
    venv.create(root / BASE, with_pip=True)
    outside = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    paths = os.pathsep.join((str(root / BASE / "bin"), "/usr/bin", "/bin"))
    clean = {"PATH": paths, "HOME": os.environ.get("HOME", str(root)), **outside}
    kept = {BASE}
    stage = Stage(root, dict(clean))
    for instruction, words in instructions():
        if instruction == "FROM":
            stage = Stage(root, dict(clean))
            kept = {BASE}
            continue
        if instruction == "COPY" and words.startswith("--from="):
            kept.add(words.split()[-1].split("/")[1])
        stage.do(instruction, words)
    for left in root.iterdir():
        if left.name not in kept and left != stage.folder:
            shutil.rmtree(left)
    return stage


def _image_problems(image: Stage) -> Iterator[str]:
    """Start the program as the image would, and yield what is not as it should be."""
    cronjob = yaml.safe_load((ROOT / "k8s" / "base" / "cronjob.yaml").read_text(encoding="utf-8"))
    pod = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["securityContext"]
    if image.user != f"{pod['runAsUser']}:{pod['runAsGroup']}":
        yield f"USER {image.user} is another one than the pod's"
    before = _content(image.root)
    program = shutil.which(image.entrypoint[0], path=image.environment["PATH"])
    if program is None or not Path(program).is_relative_to(image.root):
        yield f"ENTRYPOINT {image.entrypoint} is not in the image"
        return
    command = [program, *image.entrypoint[1:]]
    environment = {name: value for name, value in image.environment.items() if "PIP" not in name}
    for arguments in (["--version"], ["schema", "print"]):
        done = subprocess.run(
            [*command, *arguments],
            cwd=image.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout.partition("\n")[0]
        if done.returncode or not said:
            yield f"{shlex.join(arguments)} failed: {done.stderr.strip()}"
        else:
            print(f"ok {image.entrypoint[0]} {shlex.join(arguments)}: {said[:60]}")
        if arguments == ["--version"]:
            kustomization = (ROOT / "k8s" / "base" / "kustomization.yaml").read_text(encoding="utf-8")
            (tag,) = (one["newTag"] for one in yaml.safe_load(kustomization)["images"])
            if said.split()[-1:] != [tag]:
                yield f"the manifests ask for {tag}, and this is {said}"
    libraries = "import kubernetes.client, kubernetes.config, psycopg, reconciler.sources.cluster"
    python = Path(program).with_name("python")
    done = subprocess.run(
        [python, "-c", libraries],
        cwd=image.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        yield f"a library is not whole: {done.stderr.strip()}"
    if written := sorted(_content(image.root) - before):
        yield f"it writes into the image: {', '.join(written[:5])}"
    packages = {
        one.name.partition("-")[0] for one in image.root.glob("venv/lib/*/site-packages/*.dist-info")
    }
    if unneeded := packages & {"hatchling", "hypothesis", "mypy", "pip", "pytest", "ruff"}:
        yield f"holds what no pass needs: {', '.join(sorted(unneeded))}"
    size = sum(file.lstat().st_size for file in (image.root / "venv").rglob("*")) / 2**20
    print(f"ok /venv: {len(packages)} packages, {size:.0f} MiB")


def _content(root: Path) -> set[str]:
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.relative_to(root).parts[0] != BASE
    }


if __name__ == "__main__":
    sys.exit(main())
