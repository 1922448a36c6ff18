import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { whyMissing } from '../../../deploy/local/binary.ts';
import { createMinioUser, startMinio } from '../../../deploy/local/minio.ts';
import { SERVERS } from '../../../deploy/local/servers.ts';
import { testStore } from './matrix.ts';
import { REGION } from './store-under-test.ts';

const POLICY = new URL('../../../deploy/local/minio/probe-policy.json', import.meta.url).pathname;
const USELESS_POLICY = JSON.stringify({
  Version: '2012-10-17',
  Statement: [
    { Effect: 'Allow', Action: ['s3:GetBucketTagging'], Resource: ['arn:aws:s3:::storage-probe-*'] },
  ],
});

testStore({
  title: SERVERS.minio.title,
  missing: await whyMissing('minio'),
  signsWithRegion: true,
  async start(dir) {
    const server = await startMinio({ dir, env: { MINIO_SITE_REGION: REGION } });
    const uselessPolicy = join(dir, 'useless-policy.json');
    await writeFile(uselessPolicy, USELESS_POLICY);
    const user = await createMinioUser(server, POLICY);
    const userWithoutRights = await createMinioUser(server, uselessPolicy);
    return { ...server, region: REGION, user, userWithoutRights };
  },
});
