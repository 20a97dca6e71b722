FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY src src
# `switchd check --explain` tells the defaults from it.
COPY config/switchd.toml config/switchd.toml
# The manifest names a bench: without its file there is no build.
COPY benches/hot_path.rs benches/hot_path.rs
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bins \
    && install -D -t /out target/release/switchd target/release/switchctl

FROM debian:bookworm-slim
# The folders belong to the user, so that a volume mounted there does too.
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin switchd \
    && install -d -o switchd -g switchd -m 0750 /run/switchd /var/lib/switchd
COPY --from=build /out/ /usr/local/bin/
COPY config/switchd.toml /etc/switchd/switchd.toml
USER switchd
EXPOSE 8080
VOLUME /var/lib/switchd
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s CMD ["switchctl", "status"]
ENTRYPOINT ["switchd"]
CMD ["run", "--config", "/etc/switchd/switchd.toml"]
