# One image for every node of a mesh. Both base images may be replaced: --build-arg BUILDER=… --build-arg RUNTIME=…
ARG BUILDER=golang:1.26-bookworm
ARG RUNTIME=debian:bookworm-slim

FROM ${BUILDER} AS build
WORKDIR /src
# go.mod names the release to build with; the image may carry an older one.
ENV GOTOOLCHAIN=auto CGO_ENABLED=0
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN go build -trimpath -buildvcs=false -ldflags "-X main.version=${VERSION}" -o /malla .

FROM ${RUNTIME}
RUN apt-get update \
    && apt-get install -y --no-install-recommends ffmpeg ca-certificates \
    && rm -rf /var/lib/apt/lists/*
# A fixed number, so that a volume written by one version of the image is readable by the next.
RUN useradd --uid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin malla \
    && install -d -o malla -g malla -m 0700 /data
COPY --from=build /malla /usr/local/bin/malla
USER 10001
ENV MALLA_DATA=/data
VOLUME /data
# 8000 the API and the pages; 7946 gossip; 7947 agreement and bytes between nodes.
EXPOSE 8000 7946/tcp 7946/udp 7947
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["malla", "health"]
ENTRYPOINT ["malla"]
CMD ["serve"]
