import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'deploy/**/*.test.ts', 'test/support/**/*.test.ts'],
        },
      },
      {
        extends: true,
        test: {
          name: 'integration',
          include: ['test/{integration,charts}/**/*.test.ts'],
          globalSetup: ['test/integration/servers.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          // The tests spend most of their time waiting for other processes.
          maxWorkers: 4,
          sequence: { shuffle: true },
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          globalSetup: ['test/e2e/stack.ts'],
          // Longer than all waits of one test together, so that a wait reports its own timeout first.
          testTimeout: 420_000,
          hookTimeout: 420_000,
          // All test files share one cluster, and each installs the operator with its own values.
          maxWorkers: 1,
        },
      },
    ],
  },
});
