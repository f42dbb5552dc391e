# The serving image: CPU, OpenVINO, multi-model-server on a trimmed Java. No torch, no compiler, no pip.
#
#   base ─┬─ java                                   JDK → jlink → /opt/java (50 MB)
#         │    └──────────────┐
#         └─ python ─┬─ nginx                       the program alone → /usr/sbin/nginx
#                    ├─ environment                 uv, wheels, less what a CPU never loads → /opt/venv
#                    ├─ code                        the wing → /opt/serve
#                    │        │
#                    └──── image                    Python, nginx, /opt/java, /opt/venv, /opt/serve
#
# The same inputs give the same layers: every step has one fixed date (docker/settle.sh) and
# hash-locked wheels.

ARG BASE=debian:bookworm-slim

# ─── java: the modules that multi-model-server uses, and no more ─────────────────────────────────────
FROM ${BASE} AS java
ARG SOURCE_DATE_EPOCH=1767225600
# The package links its manual pages, into a folder that a slim base has not.
RUN mkdir -p /usr/share/man/man1 \
    && apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends \
        openjdk-17-jdk-headless binutils
# Without java.desktop log4j fails on java/beans/PropertyChangeEvent.
RUN mkdir -p /out/opt && jlink --output /out/opt/java --strip-debug --no-header-files --no-man-pages --compress=2 \
        --add-modules java.base,java.logging,java.management,java.naming,java.xml,java.desktop,jdk.unsupported \
    && find /out -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +

# ─── python: what the builder and the image stand on ─────────────────────────────────────────────────
FROM ${BASE} AS python
ARG SOURCE_DATE_EPOCH=1767225600
RUN --mount=type=bind,source=docker/settle.sh,target=/dev/shm/settle.sh \
    sh /dev/shm/settle.sh begin \
    && apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends --no-upgrade ca-certificates python3 \
    && sh /dev/shm/settle.sh end

# ─── nginx: Debian's, without the services, tools and pages that its package brings ──────────────────
FROM python AS nginx
ARG SOURCE_DATE_EPOCH=1767225600
WORKDIR /build
RUN apt-get update -q \
    && apt-get -o APT::Sandbox::User=root download -q nginx \
    && dpkg -x nginx_*.deb package \
    && install -D package/usr/sbin/nginx /out/usr/sbin/nginx \
    && install -D -m 644 package/usr/share/doc/nginx/copyright /out/usr/share/doc/nginx/copyright \
    && /out/usr/sbin/nginx -v \
    && find /out -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +

# ─── environment: every wheel by its hash ────────────────────────────────────────────────────────────
FROM python AS environment
ARG SOURCE_DATE_EPOCH=1767225600
ENV PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 PYC_INVALIDATION_MODE=UNCHECKED_HASH
COPY scripts/bootstrap.py /build/scripts/bootstrap.py
COPY docker/serve.txt docker/build-constraints.txt /build/
RUN --mount=type=secret,id=ca_bundle \
    if [ -s /run/secrets/ca_bundle ]; then export SSL_CERT_FILE=/run/secrets/ca_bundle; fi \
    && export UV_NO_CACHE=1 UV_NO_PROGRESS=1 \
    && python3 /build/scripts/bootstrap.py \
    && /build/.tools/uv venv --quiet --python /usr/bin/python3 /opt/venv \
    && /build/.tools/uv pip install --python /opt/venv --no-deps --require-hashes --compile-bytecode \
        --build-constraints /build/build-constraints.txt --requirements /build/serve.txt \
    && cd /opt/venv/lib/python3.11/site-packages \
    # OpenVINO for other devices and other networks' formats: 82 of its 178 MB.
    && rm -rf openvino/libs/libopenvino_intel_[gn]pu_* openvino/libs/cache.json openvino/libs/libopenvino_auto_* \
        openvino/libs/libopenvino_hetero_* openvino/frontend/*/py_*.so openvino/include openvino/cmake \
    && find openvino/libs -name "libopenvino_*_frontend.so*" ! -name "libopenvino_ir_*" -delete \
    && find numpy -type d -name tests -prune -exec rm -rf {} + \
    && mkdir -p /out/opt && mv /opt/venv /out/opt/ \
    && find /out -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +

# ─── code: the wing, dated ───────────────────────────────────────────────────────────────────────────
FROM python AS code
ARG SOURCE_DATE_EPOCH=1767225600
COPY container_serve /out/opt/serve
RUN find /out -type d -exec chmod 755 {} + && find /out -type f -exec chmod 644 {} + \
    && python3 -m compileall -q --invalidation-mode unchecked-hash -s /out /out/opt/serve \
    && find /out -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +

# ─── image ───────────────────────────────────────────────────────────────────────────────────────────
FROM python AS image
COPY --from=java /out /
COPY --from=nginx /out /
COPY --from=environment /out /
COPY --from=code /out /

ENV PATH=/opt/venv/bin:/opt/java/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    JAVA_HOME=/opt/java \
    PYTHONPATH=/opt/serve \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

# The server obeys SAGEMAKER_BIND_TO_PORT and SAGEMAKER_MULTI_MODEL.
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true \
      com.amazonaws.sagemaker.capabilities.multi-models=true

WORKDIR /opt/serve
EXPOSE 8080
ENTRYPOINT ["python", "/opt/serve/entrypoint.py"]
CMD ["serve"]
