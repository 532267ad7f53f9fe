# The images, each a target with its own IMAGE: recall, recall-compact, tower, tower-kserve, components. `make images` builds them.
# BASE_IMAGE: any Debian or Ubuntu with Python 3.11, so that a company's own base can be used.
ARG BASE_IMAGE=docker.io/library/python:3.11.13-slim-bookworm

FROM ${BASE_IMAGE} AS build
# Whose requirements are installed: requirements/IMAGE.txt.
ARG IMAGE
ARG PIP_INDEX_URL
# Where the CPU build of torch is; the default one brings gigabytes of CUDA.
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
# A plain Debian has Python without the part that makes environments.
# hadolint ignore=DL3008
RUN python3 -c "import ensurepip" 2>/dev/null || \
    { apt-get update && apt-get install --yes --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*; }
RUN python3 -m venv /opt/pagoda && python3 -m venv /opt/sbom
ENV PATH=/opt/pagoda/bin:$PATH
WORKDIR /source
COPY requirements requirements
# Every file by its hash, so nothing is resolved; `make lock` wrote them. What builds comes first, and torch by its own
# index: recall does without it. The pods of a training job have the components' image, and train by TorchRec.
RUN if [ "$IMAGE" = recall ]; then \
      pip install --no-cache-dir --no-deps --require-hashes --requirement requirements/build.txt; \
    else \
      pip install --no-cache-dir --no-deps --require-hashes --retries 1 --extra-index-url "$TORCH_INDEX_URL" --requirement requirements/first.txt; \
    fi && \
    pip install --no-cache-dir --no-deps --no-build-isolation --require-hashes --requirement "requirements/$IMAGE.txt" && \
    if [ "$IMAGE" = components ]; then \
      pip install --no-cache-dir --no-deps --require-hashes --requirement requirements/distributed.txt; \
    fi
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation .
# What is in it, for whoever must know: /opt/pagoda/sbom.cdx.json (CycloneDX). pip has no work after this, and goes first.
RUN python -m pip uninstall --yes pip && \
    /opt/sbom/bin/pip install --no-cache-dir --no-deps --require-hashes --requirement requirements/sbom.txt && \
    /opt/sbom/bin/cyclonedx-py environment --output-file /opt/pagoda/sbom.cdx.json /opt/pagoda/bin/python

FROM ${BASE_IMAGE} AS runtime
LABEL org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/pagoda /opt/pagoda
# /tmp is all that is written to (and /tables, by the follower); the rest can be read-only, and any user will do.
# LOGNAME stands for the name that an arbitrary user has not.
ENV PATH=/opt/pagoda/bin:$PATH HOME=/tmp LOGNAME=pagoda PAGODA_HOME=/tmp/pagoda \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp

# The recall service.
FROM runtime AS recall
LABEL org.opencontainers.image.title="pagoda/recall"
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen(\"http://127.0.0.1:8080/v2/health/ready\", timeout=3)"]
ENTRYPOINT ["python", "-m", "serving.recall"]
CMD ["--host=0.0.0.0", "--port=8080"]

# The recall service with the user tower in it, and the follower beside it.
FROM runtime AS recall-compact
LABEL org.opencontainers.image.title="pagoda/recall-compact"
ENV OMP_NUM_THREADS=1
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen(\"http://127.0.0.1:8080/v2/health/ready\", timeout=3)"]
ENTRYPOINT ["python", "-m", "serving.recall"]
CMD ["--host=0.0.0.0", "--port=8080"]

# The user tower: TorchServe on loopback but for its inference API, and the follower beside it.
FROM runtime AS tower
LABEL org.opencontainers.image.title="pagoda/tower"
# KServe puts the model archive here; without one TorchServe starts all the same, and is not ready.
RUN mkdir -p /mnt/models
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-m", "serving.tower.ready"]
ENTRYPOINT ["python", "-m", "serving.tower"]
CMD ["--inference=http://0.0.0.0:8080", "--store=/mnt/models"]

# The user tower on KServe's own model server, and the follower beside it: no Java, no TorchServe.
FROM runtime AS tower-kserve
LABEL org.opencontainers.image.title="pagoda/tower-kserve"
# KServe puts the model archive here; without one the server starts all the same, and is not ready.
RUN mkdir -p /mnt/models
ENV OMP_NUM_THREADS=1
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-m", "serving.tower.ready"]
ENTRYPOINT ["python", "-m", "serving.tower.kserve"]
CMD ["--inference=http://0.0.0.0:8080", "--store=/mnt/models"]

# The steps of the pipelines, the rollout driver, the workers, and MLflow, which needs a client of PostgreSQL.
FROM runtime AS components
LABEL org.opencontainers.image.title="pagoda/components"
# MLflow's server would tell its makers of its use.
ENV MLFLOW_DISABLE_TELEMETRY=true
USER 10001:10001
# Not a server: each pod says how its own process is asked.
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "pagoda"]
