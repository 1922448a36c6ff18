import { build } from 'esbuild';

/** Defines `require`, because the gRPC packages are CommonJS. They load Node modules and their own files with it. */
const REQUIRE = `import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);`;

await build({
  entryPoints: ['src/main.ts'],
  outdir: 'dist',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  // Lets each command load only what it needs.
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  // The package's ES module loads gRPC with a require() that the bundler cannot see.
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
