"""The image, built by buildah and run without a container engine, as Kubernetes would run it.

The base is a Debian that debootstrap makes, in the place of `python:3.11-slim`; this machine's CA bundle
and package index go into that base, never into the image. A container is the image's filesystem, mounted
read-only but for a small /tmp, with the user, the environment and the entry point that the image names.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("buildah", "debootstrap", "unshare", "chroot")
BASE, IMAGE = "localhost/reconciler-base", "localhost/reconciler"
SUITE = "bookworm"
KUBECONFIG = "/tmp/kubeconfig"  # noqa: S108 - inside
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"

# In a mount namespace of its own: nothing stays mounted.
ENTER = """
set -e
root=$1 user=$2 kubeconfig=$3; shift 3
mount --bind "$root" "$root"
mount -o remount,ro,bind "$root"
mount -t tmpfs -o size=16m,mode=1777 tmpfs "$root/tmp"
if [ -n "$kubeconfig" ]; then install -m 644 "$kubeconfig" "$root/tmp/kubeconfig"; fi
exec chroot --userspec="$user" "$root" /usr/bin/env -i -C /tmp "$@"
"""


def why_not() -> str | None:
    """What keeps this machine from building and running an image."""
    if os.geteuid() != 0:
        return "only root can build and enter a root file system here"
    missing = [name for name in NEEDED if shutil.which(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


@dataclass(frozen=True)
class Image:
    """A built image, and its root file system."""

    root: Path
    config: Mapping[str, Any]
    size: int
    """Bytes that it adds to its base."""

    def command(
        self, *arguments: str, kubeconfig: Path | None = None, settings: Mapping[str, str]
    ) -> Sequence[str]:
        """What starts it with these arguments; the kubeconfig is at /tmp/kubeconfig inside."""
        variables = [*self.config["Env"], *(f"{name}={value}" for name, value in settings.items())]
        return [
            *("unshare", "--mount", "sh", "-c", ENTER, "sh"),
            *(str(self.root), self.config["User"], str(kubeconfig or "")),
            *variables,
            *self.config["Entrypoint"],
            *arguments,
        ]

    def run(
        self, *arguments: str, kubeconfig: Path | None = None, settings: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Runs it to its end."""
        command = self.command(*arguments, kubeconfig=kubeconfig, settings=settings or {})
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def build(folder: Path) -> Image:
    """The image of this checkout. Takes some minutes."""
    _make_base(folder / "base")
    _buildah("bud", "--quiet", "--build-arg", f"PYTHON={BASE}", "--tag", IMAGE, str(ROOT))
    described = json.loads(_buildah("inspect", "--type", "image", IMAGE))
    container = _buildah("from", IMAGE)
    root = Path(_buildah("mount", container))
    size = sum(file.lstat().st_size for file in root.glob("venv/**/*") if not file.is_dir())
    return Image(root, described["OCIv1"]["config"], size)


def _make_base(root: Path) -> None:
    made = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root)]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    (root / "usr/bin/python").symlink_to("python3")
    bundle = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    if Path(bundle).exists():
        shutil.copy(bundle, root / "etc/ssl/certs/ca-certificates.crt")
    index = subprocess.run(
        ["python3", "-m", "pip", "config", "get", "global.index-url"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    lines = ["[global]", "cert = /etc/ssl/certs/ca-certificates.crt"]
    (root / "etc/pip.conf").write_text("\n".join([*lines, *([f"index-url = {index}"] if index else [])]))
    container = _buildah("from", "scratch")
    _buildah("add", "--quiet", container, str(root), "/")
    _buildah("commit", "--quiet", container, BASE)
    _buildah("rm", container)


def _buildah(*arguments: str) -> str:
    done = subprocess.run(
        ["buildah", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"},
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout.strip()
