import { build } from 'esbuild';

/** gRPC's packages are CommonJS, and load parts of Node and of themselves by `require`. */
const REQUIRE = `import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);`;

await build({
  entryPoints: ['src/main.ts'],
  outdir: 'dist',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  // Each command loads only what it needs.
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  // Its ES module loads gRPC by a require() that a bundler cannot see.
  alias: {
    '@opentelemetry/otlp-grpc-exporter-base':
      './node_modules/@opentelemetry/otlp-grpc-exporter-base/dist/index.cjs',
  },
  banner: { js: REQUIRE },
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'linked',
  logLevel: 'warning',
});
