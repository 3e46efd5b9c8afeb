# One build makes every function; each image is its binary, the CA certificates, and nothing else.
#   docker build --target predict .
ARG RUST_IMAGE=rust:1.95-bookworm

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
# Static, so that the image needs no C library. The target is named because the flag must not reach build
# scripts and macros. Compiled dependencies stay in the cache mounts from one build to the next.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    set -eu; \
    host="$(rustc -vV | sed -n 's/^host: //p')"; \
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --profile dist --target "$host" \
      -p regrove-aggregate -p regrove-train-shard -p regrove-register -p regrove-load-model -p regrove-predict \
      -p regrove-console; \
    mkdir /out; \
    for name in aggregate train-shard register load-model predict console; do \
      cp "target/$host/dist/$name" "/out/$name"; \
    done

# rustls builds no client without these, not even one for plain http.
FROM scratch AS function
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
USER 65532:65532
EXPOSE 8080

FROM function AS aggregate
COPY --from=build /out/aggregate /aggregate
ENTRYPOINT ["/aggregate"]

FROM function AS train-shard
COPY --from=build /out/train-shard /train-shard
ENTRYPOINT ["/train-shard"]

FROM function AS register
COPY --from=build /out/register /register
ENTRYPOINT ["/register"]

FROM function AS load-model
COPY --from=build /out/load-model /load-model
ENTRYPOINT ["/load-model"]

FROM function AS predict
COPY --from=build /out/predict /predict
ENTRYPOINT ["/predict"]

FROM function AS console
COPY --from=build /out/console /console
ENTRYPOINT ["/console"]
