import { describe, expect, it } from 'vitest';

import { credentialsFromEnv } from './env-credentials.ts';

describe('credentials from the environment', () => {
  const AWS = { AWS_ACCESS_KEY_ID: 'aws', AWS_SECRET_ACCESS_KEY: 'aws-secret' };
  const MINIO = { MINIO_ACCESS_KEY: 'minio', MINIO_SECRET_KEY: 'minio-secret' };
  const ROOT = { MINIO_ROOT_USER: 'root', MINIO_ROOT_PASSWORD: 'root-secret' };
  const TOKEN = { AWS_SESSION_TOKEN: 'token' };

  it.each([
    { name: 'none without variables', env: {}, want: undefined },
    { name: 'AWS keys', env: AWS, want: { accessKey: 'aws', secretKey: 'aws-secret' } },
    {
      name: 'AWS keys with a session token',
      env: { ...AWS, ...TOKEN },
      want: { accessKey: 'aws', secretKey: 'aws-secret', sessionToken: 'token' },
    },
    { name: 'MinIO keys', env: MINIO, want: { accessKey: 'minio', secretKey: 'minio-secret' } },
    { name: 'MinIO root user', env: ROOT, want: { accessKey: 'root', secretKey: 'root-secret' } },
    {
      name: 'AWS keys before MinIO keys',
      env: { ...ROOT, ...MINIO, ...AWS },
      want: { accessKey: 'aws', secretKey: 'aws-secret' },
    },
    {
      name: 'MinIO keys without the AWS token',
      env: { ...MINIO, ...TOKEN },
      want: { accessKey: 'minio', secretKey: 'minio-secret' },
    },
    {
      name: 'the first complete pair',
      env: { AWS_ACCESS_KEY_ID: 'aws', ...MINIO },
      want: { accessKey: 'minio', secretKey: 'minio-secret' },
    },
    {
      name: 'none from incomplete pairs',
      env: { AWS_ACCESS_KEY_ID: 'aws', MINIO_SECRET_KEY: 'minio' },
      want: undefined,
    },
    { name: 'none with an empty secret key', env: { ...AWS, AWS_SECRET_ACCESS_KEY: '' }, want: undefined },
    {
      name: 'AWS keys without an empty session token',
      env: { ...AWS, AWS_SESSION_TOKEN: '' },
      want: { accessKey: 'aws', secretKey: 'aws-secret' },
    },
  ])('$name', ({ env, want }) => {
    expect(credentialsFromEnv(env)).toEqual(want);
  });

  it.each([
    {
      name: 'the secret key if only the access key is given',
      given: { accessKey: 'given' },
      env: { ...TOKEN, AWS_SECRET_ACCESS_KEY: 'aws-secret' },
      want: { accessKey: 'given', secretKey: 'aws-secret' },
    },
    {
      name: 'the access key if only the secret key is given',
      given: { secretKey: 'given' },
      env: MINIO,
      want: { accessKey: 'minio', secretKey: 'given' },
    },
    {
      name: 'nothing if both keys are given',
      given: { accessKey: 'given', secretKey: 'given' },
      env: { ...AWS, ...TOKEN },
      want: { accessKey: 'given', secretKey: 'given' },
    },
  ])('provide $name', ({ given, env, want }) => {
    expect(credentialsFromEnv(env, given)).toEqual(want);
  });
});
