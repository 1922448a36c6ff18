# The bundled program on Node, without a shell or npm. `make image` builds it.
FROM node:24-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --no-fund --no-audit --loglevel=error
COPY scripts/build.ts scripts/
COPY src src
ARG VERSION=0.0.0-dev
RUN npm pkg set version="$VERSION" && npm run build

FROM gcr.io/distroless/nodejs24-debian12:nonroot
COPY LICENSE /app/
COPY --from=build /src/dist /app
USER 65532:65532
EXPOSE 8080
ARG VERSION=0.0.0-dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="storage-probe" \
      org.opencontainers.image.description="Traced bucket workflows for MinIO and other S3 stores" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
# Keep these flags in sync with the first line of src/main.ts. That line cannot be used here: it needs `env`.
ENTRYPOINT ["/nodejs/bin/node", "--max-semi-space-size=2", "--heap-growing-percent=20", "/app/main.mjs"]
