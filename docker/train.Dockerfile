# The training image: CUDA, PyTorch, the SageMaker training toolkit, Debugger.
#
#   base ──── python ─┬─ builder ── environment     compiler, uv, wheels → /opt/venv
#                     │                  │
#                     └──── image ◄──────┘          Python, /opt/venv, weights, code: no compiler, no cache
#
# CUDA comes as nvidia-* wheels with torch; the driver comes from the host's container runtime. The same
# inputs give the same layers: every step has one fixed date (docker/settle.sh) and hash-locked wheels.

ARG BASE=debian:bookworm-slim

# ─── python: what both branches stand on ─────────────────────────────────────────────────────────────
FROM ${BASE} AS python
ARG SOURCE_DATE_EPOCH=1767225600
RUN --mount=type=bind,source=docker/settle.sh,target=/dev/shm/settle.sh \
    sh /dev/shm/settle.sh begin \
    && apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends --no-upgrade \
        ca-certificates python3 python3-distutils \
    && sh /dev/shm/settle.sh end

# ─── builder: three packages come as source, two of them with C ──────────────────────────────────────
FROM python AS builder
RUN apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends gcc libc6-dev python3-dev
COPY scripts/bootstrap.py /build/scripts/bootstrap.py
RUN --mount=type=secret,id=ca_bundle \
    if [ -s /run/secrets/ca_bundle ]; then export SSL_CERT_FILE=/run/secrets/ca_bundle; fi \
    && python3 /build/scripts/bootstrap.py

# ─── environment: every wheel by its hash ────────────────────────────────────────────────────────────
# CFLAGS: debugging information would name the random folder that the C extensions are compiled in.
FROM builder AS environment
ARG SOURCE_DATE_EPOCH=1767225600
ENV PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 PYC_INVALIDATION_MODE=UNCHECKED_HASH CFLAGS=-g0
COPY docker/train.txt docker/build-constraints.txt /build/
RUN --mount=type=secret,id=ca_bundle \
    if [ -s /run/secrets/ca_bundle ]; then export SSL_CERT_FILE=/run/secrets/ca_bundle; fi \
    && export UV_NO_CACHE=1 UV_NO_PROGRESS=1 \
    && /build/.tools/uv venv --quiet --python /usr/bin/python3 /opt/venv \
    && /build/.tools/uv pip install --python /opt/venv --no-deps --require-hashes --compile-bytecode \
        --build-constraints /build/build-constraints.txt --requirements /build/train.txt \
    && mkdir -p /out/opt && mv /opt/venv /out/opt/ \
    && find /out -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +

# ─── code: the wing and the weights, dated ───────────────────────────────────────────────────────────
FROM python AS code
ARG SOURCE_DATE_EPOCH=1767225600
COPY container_train /out/opt/ml/code
COPY docker/weights /out/opt/weights
RUN find /out -type d -exec chmod 755 {} + && find /out -type f -exec chmod 644 {} + \
    && find /out -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +

# ─── image ───────────────────────────────────────────────────────────────────────────────────────────
FROM python AS image
COPY --from=environment /out /
COPY --from=code /out /

# USE_SMDEBUG=0: else the toolkit imports smdebug, and torch with it, for the names of its exceptions (5 s).
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONPATH=/opt/ml/code \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python \
    SAGEMAKER_PROGRAM=train_model.py \
    SAGEMAKER_TRAINING_MODULE=trainer.toolkit_entry:main \
    TRAINER_WEIGHTS_DIR=/opt/weights \
    USE_SMDEBUG=0 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# artifact.json says which revision trained it.
ARG REVISION=unknown
ENV GIT_REVISION=${REVISION}

WORKDIR /opt/ml/code
ENTRYPOINT ["python", "/opt/ml/code/entrypoint.py"]
CMD ["train"]
