# isoerg for CPU nodes, with Debian's libtorch. Build from the repository's root:
#
#   docker build -f cluster/images/cpu.Dockerfile -t isoerg:cpu .
#
# Where the npm registry needs a certificate of its own: --secret id=ca,src=FILE. The base may be any Debian 12 image with
# Node 20 and npm in it (--build-arg BASE=...), so that a build needs no registry of images.
ARG BASE=docker.io/library/node:20-bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ libtorch-dev libopenblas0-pthread \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/isoerg
# The packages are a layer of their own: they change seldom.
COPY package.json package-lock.json ./
RUN --mount=type=secret,id=ca,target=/run/ca.pem \
    if [ -s /run/ca.pem ]; then export NODE_EXTRA_CA_CERTS=/run/ca.pem NPM_CONFIG_CAFILE=/run/ca.pem; fi; \
    npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json ./
COPY proto proto
COPY src src
COPY bench bench
RUN node node_modules/typescript/bin/tsc -p . \
 && ln -s "$(node src/engine/torch/build.mjs | tail -n 1 | xargs dirname)" build/bridge \
 && node src/collective/native/build.mjs \
 && npm prune --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund \
 && ISOERG_TORCH_BRIDGE=build/bridge/bridge.node node dist/src/main.js doctor | tee /dev/stderr | grep -q '^  + torch'

FROM ${BASE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends libtorch1.13 libopenblas0-pthread tini \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 isoerg && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp isoerg
COPY --from=build /opt/isoerg /opt/isoerg
# The bridge is compiled: no compiler and no headers in this image. Runs and data are volumes; the root may be read-only.
ENV ISOERG_TORCH_BRIDGE=/opt/isoerg/build/bridge/bridge.node OMP_WAIT_POLICY=PASSIVE NODE_ENV=production
RUN ln -s /opt/isoerg/dist/src/main.js /usr/local/bin/isoerg && chmod 755 /opt/isoerg/dist/src/main.js \
 && isoerg doctor | tee /dev/stderr | grep -q '^  + torch'
USER 10001:10001
WORKDIR /workspace
# tini is process 1: it passes SIGTERM on, which isoerg answers with a checkpoint, and reaps what workers leave.
ENTRYPOINT ["tini", "--", "isoerg"]
CMD ["--help"]
