# The service without a database: give it REGISTRY_DATABASE_URL (see compose.yaml).
FROM python:3.11-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /srv

# The virtual environment, from locked and hashed wheels; pip itself stays outside.
FROM base AS build
COPY requirements.lock ./
RUN python -m venv --without-pip .venv \
    && pip --python .venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary :all: --requirement requirements.lock \
    && echo ../../../.. >"$(.venv/bin/python -c 'import site; print(site.getsitepackages()[0])')/checkout.pth" \
    && .venv/bin/python -m compileall -q .venv/lib
COPY scripts/coverage-registry .venv/bin/

FROM base AS run
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent registry \
    && install -d -o registry -m 700 /var/lib/coverage-registry
COPY --from=build /srv/.venv .venv
COPY alembic.ini ./
COPY alembic alembic
COPY app app
ENV PATH=/srv/.venv/bin:$PATH \
    REGISTRY_HOST=0.0.0.0 \
    REGISTRY_PORT=8000 \
    REGISTRY_DATA_DIR=/var/lib/coverage-registry \
    REGISTRY_LOG_FORMAT=json
USER registry
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=6s --start-period=60s --retries=3 \
    CMD ["coverage-registry", "healthcheck"]
CMD ["coverage-registry", "serve"]
