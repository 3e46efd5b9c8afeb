# Each image is one function: its program, the CA certificates, the list of its parts, and nothing else.
#   docker build --target predict .
# The same commit and the same RUST_IMAGE give the same layer; with SOURCE_DATE_EPOCH in the environment of BuildKit 0.11 or newer,
# the same image.

# A tag moves: for a build that others can repeat, its digest (--build-arg RUST_IMAGE=rust@sha256:…).
ARG RUST_IMAGE=rust:1.95-bookworm
# `build` makes the programs in here. `packed` takes those that `cargo xtask package images` made: where there is a
# toolchain and no registry, as in CI.
ARG PROGRAMS=build

FROM ${RUST_IMAGE} AS build
ARG PROFILE=dist
WORKDIR /src
COPY . .
# One pass for all functions. Compiled dependencies stay in the cache mounts from one build to the next.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo xtask package images --profile "$PROFILE" --out /image

FROM scratch AS packed
COPY target/image /image

FROM ${PROGRAMS} AS programs

FROM scratch AS function
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.vendor="Regrove" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      io.regrove.sbom="/sbom.cdx.json"
USER 65532:65532
EXPOSE 8080

FROM function AS aggregate
LABEL org.opencontainers.image.title="regrove-aggregate" \
      org.opencontainers.image.description="Opens jobs, plans shards, puts forests together"
COPY --from=programs /image/aggregate/ /
ENTRYPOINT ["/aggregate"]

FROM function AS train-shard
LABEL org.opencontainers.image.title="regrove-train-shard" \
      org.opencontainers.image.description="Grows a range of a forest's trees"
COPY --from=programs /image/train-shard/ /
ENTRYPOINT ["/train-shard"]

FROM function AS register
LABEL org.opencontainers.image.title="regrove-register" \
      org.opencontainers.image.description="Keeps MLflow true to the log"
COPY --from=programs /image/register/ /
ENTRYPOINT ["/register"]

FROM function AS load-model
LABEL org.opencontainers.image.title="regrove-load-model" \
      org.opencontainers.image.description="Verifies model versions and moves the serving pointer"
COPY --from=programs /image/load-model/ /
ENTRYPOINT ["/load-model"]

FROM function AS predict
LABEL org.opencontainers.image.title="regrove-predict" \
      org.opencontainers.image.description="Answers predictions from the model that the serving pointer names"
COPY --from=programs /image/predict/ /
ENTRYPOINT ["/predict"]

FROM function AS console
LABEL org.opencontainers.image.title="regrove-console" \
      org.opencontainers.image.description="Shows jobs, events and models, and takes orders about them"
COPY --from=programs /image/console/ /
ENTRYPOINT ["/console"]
