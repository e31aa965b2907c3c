"""The check of the image says no to an image that is wrong, and to a Dockerfile that does not build."""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deployment import image
from tests.deployment.image import Stage, Unreachable, Wrong


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """An empty folder that stands for an image's root, with the paths of this machine."""
    return Stage(tmp_path.resolve(), {"PATH": "/usr/bin:/bin"})


@pytest.fixture
def built(stage: Stage) -> Stage:
    """As the last stage is left: with the program, whose libraries are those of the tests."""
    venv = stage.root / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (site,) = venv.glob("lib/python*/site-packages")
    libraries = sysconfig.get_path("purelib"), str(image.ROOT)
    (site / "libraries.pth").write_text("\n".join(libraries))
    program(stage, "from reconciler.cli import main; sys.exit(main())")
    stage.environment = {"PATH": f"{venv}/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    stage.user, stage.entrypoint = "65532:65532", ["reconciler"]
    return stage


def program(stage: Stage, code: str) -> None:
    file = stage.root / "venv" / "bin" / "reconciler"
    file.write_text(f"#!{file.with_name('python')}\nimport sys\n{code}\n")
    file.chmod(0o755)


def test_nothing_is_wrong_with_the_program_as_it_is(built: Stage) -> None:
    assert [*image._image_problems(built)] == []


def written_by(code: str) -> Callable[[Stage], None]:
    return lambda stage: program(stage, code)


def without_kubernetes(stage: Stage) -> None:
    (site,) = stage.root.glob("venv/lib/python*/site-packages")
    (site / "kubernetes").mkdir()
    (site / "kubernetes" / "__init__.py").touch()
    file = site / "libraries.pth"
    file.write_text(f"import sys; sys.path.insert(0, {str(site)!r})\n{file.read_text()}")


def with_a_shell(stage: Stage) -> None:
    stage.environment["PATH"], stage.entrypoint = "/bin", ["sh"]


def with_pytest(stage: Stage) -> None:
    (site,) = stage.root.glob("venv/lib/python*/site-packages")
    (site / "pytest-9.0.dist-info").mkdir()


SAYS_ALL = 'print("reconciler 0.1.0")'


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda stage: setattr(stage, "user", "0"), "USER 0 is another one than the pod's"),
        (lambda stage: setattr(stage, "entrypoint", ["recon"]), "ENTRYPOINT ['recon'] is not in the"),
        (lambda stage: stage.environment.update(PATH="/bin"), "ENTRYPOINT ['reconciler'] is not in the"),
        (with_a_shell, "ENTRYPOINT ['sh'] is not in the image"),
        (written_by('sys.exit("no such library")'), "--version failed: no such library"),
        (written_by("pass"), "--version failed"),
        (written_by(f'{SAYS_ALL}; sys.exit("schema" in sys.argv)'), "schema print failed"),
        (
            written_by('print("reconciler 0.0.9")'),
            "the manifests ask for 0.1.0, and this is reconciler 0",
        ),
        (without_kubernetes, "a library is not whole"),
        (
            written_by(f'{SAYS_ALL}; open(sys.prefix + "/cache", "w")'),
            "it writes into the image: venv/cache",
        ),
        (with_pytest, "holds what no pass needs: pytest"),
    ],
)
def test_an_image_that_is_wrong_is_found(
    built: Stage, edit: Callable[[Stage], object], problem: str
) -> None:
    edit(built)
    found = [*image._image_problems(built)]
    assert any(one.startswith(problem) for one in found), found


@pytest.mark.parametrize(
    ("instruction", "words", "problem"),
    [
        ("ADD", "https://example.org /", "ADD is not known"),
        ("ENTRYPOINT", "reconciler run", "ENTRYPOINT needs a shell: reconciler run"),
        ("CMD", "--help", "CMD needs a shell"),
        ("COPY", "--from=build /venv /opt/venv", "scripts name the place they were made for"),
        ("COPY", "--from=build /venv /venv", "scripts name the place they were made for"),
        ("RUN", "echo it went wrong; exit 3", "it went wrong"),
    ],
)
def test_an_instruction_that_cannot_be_followed_is_told(
    stage: Stage, instruction: str, words: str, problem: str
) -> None:
    with pytest.raises(Wrong, match=problem):
        stage.do(instruction, words)


def test_a_package_index_that_cannot_be_reached_is_told_apart(stage: Stage) -> None:
    with pytest.raises(Unreachable):
        stage.do("RUN", "echo WARNING: Retrying after connection broken by NewConnectionError; exit 1")
    stage.do("RUN", "echo connection broken by NewConnectionError")  # and mended


def test_what_the_instructions_set_is_set_below_the_root(stage: Stage) -> None:
    stage.do("ENV", "HERE=/venv/bin NEXT=$PATH:/opt")
    assert stage.environment["HERE"] == f"{stage.root}/venv/bin"
    assert stage.environment["NEXT"] == f"/usr/bin:/bin:{stage.root}/opt"
    stage.do("WORKDIR", "/src")
    stage.do("RUN", "pwd > /src/here")
    assert (stage.root / "src" / "here").read_text().strip() == str(stage.root / "src")
    stage.do("COPY", "constraints.txt ./")
    assert (stage.root / "src" / "constraints.txt").read_bytes()


def test_nothing_is_sent_that_the_image_does_not_need() -> None:
    sent = {str(path) for path in image.sent()}
    assert {"pyproject.toml", "constraints.txt", "reconciler/cli.py", "schema/10-ledger.sql"} <= sent
    assert not {path.partition("/")[0] for path in sent} & {".git", ".venv", "tests", "k8s"}


@pytest.mark.parametrize(
    ("dockerfile", "status", "problem"),
    [
        ('FROM scratch\nRUN false\nENTRYPOINT ["reconciler"]\n', 1, "Dockerfile: RUN false"),
        ('FROM scratch\nENTRYPOINT ["reconciler"]\n', 1, "USER 0 is another one"),
        ("FROM python\nRUN echo connection broken by a storm; exit 1\n", 1, ""),
        ("FROM scratch\nRUN echo connection broken by a storm; exit 1\n", 0, ""),
    ],
    ids=["a step fails", "it is root's", "the linter objects", "nothing can be fetched"],
)
def test_a_dockerfile_that_is_wrong_fails_it_all(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    dockerfile: str,
    status: int,
    problem: str,
) -> None:
    if not shutil.which("hadolint", path=Path(sys.executable).parent):
        pytest.skip("hadolint is not installed")
    file = tmp_path / "Dockerfile"
    file.write_text(dockerfile)
    monkeypatch.setattr(image, "DOCKERFILE", file)
    assert image.main() == status
    assert problem in capsys.readouterr().err
