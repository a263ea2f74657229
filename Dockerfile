# docker build -t crossmodel --build-arg CROSSMODEL_COMMIT="$(git rev-parse HEAD)" .
# docker run -p 8080:8080 -v crossmodel:/var/lib/crossmodel --stop-timeout 45 crossmodel

FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY . .
# For `crossmodel --version`.
ARG CROSSMODEL_COMMIT
# Paths in messages of a panic are the same wherever the crates were kept, so that two builds can be compared.
ENV RUSTFLAGS="--remap-path-prefix=/usr/local/cargo=/cargo --remap-path-prefix=/src=/crossmodel"
RUN cargo build --profile dist --locked

FROM debian:bookworm-slim
# What providers' certificates are checked against.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --home-dir /var/lib/crossmodel crossmodel \
    && install -d -o crossmodel -g crossmodel -m 0700 /var/lib/crossmodel
COPY --from=build /src/target/dist/crossmodel /usr/local/bin/crossmodel
COPY --from=build /src/LICENSE /usr/share/doc/crossmodel/LICENSE
COPY conf/container.yaml /etc/crossmodel/crossmodel.yaml
# By number: only so can Kubernetes tell that it is not root.
USER 10001:10001
WORKDIR /var/lib/crossmodel
VOLUME /var/lib/crossmodel
# For the gateway and for commands: docker exec NAME crossmodel key create --name "the team"
ENV CROSSMODEL_CONFIG=/etc/crossmodel/crossmodel.yaml
EXPOSE 8080 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["crossmodel", "health"]
ENTRYPOINT ["crossmodel"]
