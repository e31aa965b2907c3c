# For an image that can be built again as it is, name the base by digest, --build-arg PYTHON=python:3.11-slim@sha256:...,
# and have the layers' times rewritten: SOURCE_DATE_EPOCH=0 docker buildx build --output type=image,rewrite-timestamp=true
ARG PYTHON=python:3.11-slim

FROM ${PYTHON} AS build
ARG SOURCE_DATE_EPOCH=0
ENV SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} \
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# The only step that reaches out: every pinned package, by its hash, as a wheel. pip cannot take hashes from a
# constraints file by -c (pypa/pip#9243), so all are fetched, and what follows finds only these.
COPY constraints.txt ./
RUN pip download --require-hashes --only-binary :all: --dest /wheels --requirement constraints.txt
ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels

COPY . .
RUN pip wheel --no-deps --wheel-dir /dist .

# Only what the wheel needs, without the parts of the Kubernetes client that no pass imports: its asynchronous half with the
# packages that only that needs, and the classes of all the APIs, which are two thirds of the environment. Compiled here,
# since the root will be read-only, and by hash instead of by time.
RUN python -m venv --without-pip /venv \
 && pip --python /venv/bin/python install /dist/*.whl \
 && pip --python /venv/bin/python uninstall --yes \
      aiohappyeyeballs aiohttp aiohttp-retry aiosignal attrs frozenlist multidict propcache yarl \
 && rm -r /venv/lib/python*/site-packages/kubernetes/aio \
 && find /venv/lib/python*/site-packages/kubernetes/client/api /venv/lib/python*/site-packages/kubernetes/client/models \
      '(' -name '*.py' ! -name __init__.py -o -name '*.pyc' ')' -delete \
 && python -m compileall -q --invalidation-mode unchecked-hash /venv/lib

FROM ${PYTHON}
ARG PYTHON
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="reconciler" \
      org.opencontainers.image.description="Keeps the billing ledger of PiecedTenants: what was switched on, when, and until when" \
      org.opencontainers.image.base.name="${PYTHON}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 65532:65532
# No HEALTHCHECK: a pass ends by itself, and its exit status says how it went; the loop has /livez and /readyz on port
# 8080, which Kubernetes probes, and Kubernetes reads no health check from an image.
EXPOSE 8080
# In exec form: no shell is asked for, and signals reach the program.
ENTRYPOINT ["reconciler"]
CMD ["--help"]
