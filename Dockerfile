# syntax=docker/dockerfile:1
#
# The environment of `make setup` with the project in it.
#
#   docker build -t mmkd_classroom .                            for a CPU
#   docker build -t mmkd_classroom --build-arg DEVICE=cuda .    for NVIDIA GPUs
#   docker run --rm mmkd_classroom                              run the tests
#   docker run --rm --gpus all --shm-size 8g -v "$PWD/data:/mmkd_classroom/data" \
#       mmkd_classroom .venv/bin/python tools/train.py CONFIG
#
# A mirror of the package index: --build-arg PIP_INDEX_URL=...

ARG DEVICE=cpu

FROM debian:12-slim AS cpu

# The torch of requirements.txt brings CUDA's libraries, and runs without a GPU too. So both images
# have the same packages, and a GPU needs no more than its driver, which the host lends.
FROM debian:12-slim AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

# hadolint ignore=DL3006
FROM ${DEVICE}
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates g++ make python3 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /mmkd_classroom
COPY . .
ARG PIP_INDEX_URL
# uv's cache keeps mmcv, which is built here, for the next image. It is on another file system.
RUN --mount=type=cache,target=/uv-cache UV_CACHE_DIR=/uv-cache UV_LINK_MODE=copy make setup

CMD ["make", "test"]
