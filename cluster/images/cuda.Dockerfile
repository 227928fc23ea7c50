# isoerg for GPU nodes, Hopper included: libtorch with CUDA, from an image that holds a Python torch. From the repository's root:
#
#   docker build -f cluster/images/cuda.Dockerfile -t isoerg:cuda .
#   docker run --rm --gpus all isoerg:cuda doctor --device cuda
#
# TORCH names a pair of images, NAME-devel (headers and a compiler, for the build) and NAME-runtime. Any pair will do whose
# torch is 1.13 or newer and was built for the cards at hand: sm_90, which Hopper needs, is in CUDA 11.8 and later.
# Both images must have torch in the same folder, since the bridge remembers where its libraries are.
ARG TORCH=docker.io/pytorch/pytorch:2.11.0-cuda12.8-cudnn9
ARG NODE=docker.io/library/node:20-bookworm-slim

FROM ${NODE} AS node

FROM ${TORCH}-devel AS build
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules /usr/local/lib/node_modules
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
WORKDIR /opt/isoerg
COPY package.json package-lock.json ./
RUN --mount=type=secret,id=ca,target=/run/ca.pem \
    if [ -s /run/ca.pem ]; then export NODE_EXTRA_CA_CERTS=/run/ca.pem NPM_CONFIG_CAFILE=/run/ca.pem; fi; \
    npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json ./
COPY proto proto
COPY src src
COPY bench bench
# No GPU is needed to build: operators are found by name when the engine starts.
RUN node node_modules/typescript/bin/tsc -p . \
 && export LIBTORCH="$(python3 -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])')" \
 && ln -s "$(node src/engine/torch/build.mjs | tail -n 1 | xargs dirname)" build/bridge \
 && node src/collective/native/build.mjs \
 && npm prune --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund

FROM ${TORCH}-runtime
RUN apt-get update \
 && apt-get install -y --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 isoerg && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp isoerg
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=build /opt/isoerg /opt/isoerg
ENV ISOERG_TORCH_BRIDGE=/opt/isoerg/build/bridge/bridge.node OMP_WAIT_POLICY=PASSIVE NODE_ENV=production
# The portable engine at least works on the builder; the card is looked for when a worker starts.
RUN ln -s /opt/isoerg/dist/src/main.js /usr/local/bin/isoerg && chmod 755 /opt/isoerg/dist/src/main.js && isoerg doctor
USER 10001:10001
WORKDIR /workspace
ENTRYPOINT ["tini", "--", "isoerg"]
CMD ["--help"]
